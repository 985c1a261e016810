// Amounts of money in minor units, as Holdfast counts them: by ISO 4217. `Intl` has other digits for some currencies (HUF, IDR,
// IQD), by what is common in cash.
const NONE = new Set("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(" "));
const THREE = new Set("BHD IQD JOD KWD LYD OMR TND".split(" "));

/** The number of digits of a currency's minor unit. */
export const digitsOf = (currency) => (NONE.has(currency) ? 0 : THREE.has(currency) ? 3 : 2);

/** An amount in words of the reader's language. */
export function money(amount, currency, language) {
  const digits = digitsOf(currency);
  const shown = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, shown).format(amount / 10 ** digits);
}
