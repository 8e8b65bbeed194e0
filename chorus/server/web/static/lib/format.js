// Numbers as people read them, in the language of the page.

import { language, t } from "./i18n.js";

const locale = language === "zh" ? "zh-CN" : navigator.language.startsWith("en") ? navigator.language : "en";
const whole = new Intl.NumberFormat(locale);
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric" });

/** Returns milliseconds as text: `0.4 ms`, `85 ms`, `1.24 s`, `2 min 5 s`; a dash for none. */
export function formatMs(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const secs = Math.round(ms / 1000);
  return secs % 60 ? `${Math.floor(secs / 60)} min ${secs % 60} s` : `${secs / 60} min`;
}

/** Returns a number with its thousands set apart; a dash for none. */
export function formatNumber(number) {
  return number === null || number === undefined ? "–" : whole.format(number);
}

/** Returns a large number in few characters: `1.2K`. */
export function formatShort(number) {
  return number === null || number === undefined ? "–" : short.format(number);
}

/** Returns dollars as text. Null is a price that is not known. */
export function formatCost(dollars) {
  if (dollars === null || dollars === undefined) return t("cost.unknown");
  if (dollars === 0) return "$0";
  return `$${dollars < 0.01 ? dollars.toPrecision(2) : dollars.toFixed(dollars < 1 ? 3 : 2)}`;
}

/** Returns tokens as text, with their unit; `≈` says that they are estimated. */
export function formatTokens(count, isEstimated = false) {
  return t("tokens", { count: `${isEstimated ? "≈" : ""}${formatNumber(count)}` });
}

/** Returns the time of day of a Date, with the day where it is not today. */
export function formatTime(date) {
  const time = clock.format(date);
  return date.toDateString() === new Date().toDateString() ? time : `${day.format(date)} ${time}`;
}
