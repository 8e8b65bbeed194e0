// Texts of the screen `ask`.

export default {
  en: {},
  zh: {},
};
