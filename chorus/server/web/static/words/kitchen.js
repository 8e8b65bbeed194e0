// Texts of the screen `kitchen`.

export default {
  en: {},
  zh: {},
};
