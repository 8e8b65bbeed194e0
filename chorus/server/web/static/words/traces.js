// Texts of the screen `traces`.

export default {
  en: {},
  zh: {},
};
