// Digits of money are those of ISO 4217, as the server has them, whatever the browser's data say. Needs no browser.
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { module: format } = await runnerImport('/src/base/format.ts', { root, configFile: false, logLevel: 'error' });

const DIGITS = {
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF',
  2: 'EUR USD GBP HUF TWD IDR ALL LAK MGA AFN MRU VES XCG COP CRC IRR LBP MMK PKR RSD SOS SYP TZS UZS YER',
  3: 'BHD IQD JOD KWD LYD OMR TND',
};
/** The digits of a formatted amount, without what the locale puts between them. */
const digitsOf = (text) => text.replace(/\D/g, '');

for (const [digits, codes] of Object.entries(DIGITS)) {
  test(`currencies with ${digits} digits after the point`, () => {
    for (const code of codes.split(' ')) {
      assert.equal(format.minorDigits(code), Number(digits), code);
      assert.equal(digitsOf(format.formatMoney(1_234_567, code)), '1234567', code);
      assert.equal(digitsOf(format.formatMoney(5, code)), '5'.padStart(Number(digits) + 1, '0'), code);
      assert.equal(digitsOf(format.formatPriceShort(95 * 10 ** digits, code)), '95', code);
      if (Number(digits)) assert.equal(digitsOf(format.formatPriceShort(95 * 10 ** digits + 1, code)), `95${'1'.padStart(Number(digits), '0')}`, code);
    }
  });
}
