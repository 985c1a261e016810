// Exit status 0 where the browser tests find a Chromium.
import { findChromium } from '../tests/browser.mjs';

process.exit(findChromium() ? 0 : 1);
