// Texts of the screen `workflows`.

export default {
  en: {},
  zh: {},
};
