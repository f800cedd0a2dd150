/** One window of VS Code in a headless browser, and what a user does in it. */

import { mkdirSync } from "node:fs";
import * as path from "node:path";
import { chromium, type Browser, type Locator, type Page } from "playwright-core";
import { ROOT, type Code } from "./code";
import { until } from "./until";

const BROWSER = process.env["QCN_BROWSER"] ?? "/usr/bin/chromium";
const ARTEFACTS = process.env["QCN_EDITOR_ARTEFACTS"] ?? path.join(ROOT, "build/editors-vscode");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const GHOST = '[class*="ghost-text"], .suggest-preview-text .view-line';

export class Window {
  private constructor(
    private readonly browser: Browser,
    readonly page: Page,
    private readonly code: Code,
  ) {}

  /** Open the folder of a server, say whether it is trusted, and wait until its first file is there. */
  static async open(code: Code, trust: "trusted" | "untrusted"): Promise<Window> {
    const browser = await chromium.launch({ executablePath: BROWSER, args: FLAGS });
    const page = await browser.newPage({ viewport: { width: 1100, height: 640 } });
    await page.goto(code.url);
    await page.waitForSelector(".monaco-workbench", { timeout: 60_000 });
    const answer = trust === "trusted" ? "Yes, I trust the authors" : "No, I don't trust the authors";
    await page.locator(".monaco-dialog-box").getByRole("button", { name: answer }).click({ timeout: 60_000 });
    await page.waitForSelector(".view-lines", { timeout: 60_000 });
    return new Window(browser, page, code);
  }

  /** Close it; what it shows last is kept for whoever has to find out why. */
  async close(): Promise<void> {
    await this.picture(`end-${path.basename(process.argv[1] ?? "")}`).catch(() => undefined);
    await this.browser.close();
  }

  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text);
  }

  async press(...keys: string[]): Promise<void> {
    for (const key of keys) {
      await this.page.keyboard.press(key);
    }
  }

  /** Open a file of the folder from the explorer, and put the cursor at its end. */
  async open(name: string): Promise<void> {
    await this.row(name).dblclick();
    await this.page.locator(".tab.active").filter({ hasText: name }).waitFor();
    await this.toEnd();
  }

  /** Give a file of the folder another name in the explorer. */
  async rename(name: string, next: string): Promise<void> {
    await this.row(name).click();
    await this.press("F2");
    const box = this.page.locator(".explorer-item-edited input");
    await box.fill(next);
    await this.press("Enter");
    await this.row(next).waitFor();
  }

  private row(name: string): Locator {
    return this.page.locator(".explorer-folders-view .monaco-list-row").filter({ hasText: name }).first();
  }

  /** Put the cursor at the end of the file. */
  async toEnd(): Promise<void> {
    await this.page.locator(".monaco-editor .view-lines").first().click();
    await this.press("Control+End");
  }

  /** Run a command by its name in the palette. */
  async command(name: string): Promise<void> {
    await this.press("F1");
    await this.page.locator(".quick-input-widget input").first().fill(`>${name}`);
    await this.page.locator(".quick-input-list .monaco-list-row").first().waitFor();
    await this.press("Enter");
  }

  /** The ghost text on the screen, all pieces together; waits until it holds `part`. */
  async ghost(part: string): Promise<string> {
    return until(`ghost text with ${JSON.stringify(part)}`, async () => {
      const text = await this.ghostNow();
      return text.includes(part) ? text : undefined;
    });
  }

  /** Whatever ghost text comes, once it stays as it is. */
  async anyGhost(): Promise<string> {
    let before = "";
    return until("ghost text", async () => {
      const now = await this.ghostNow();
      const isStill = now !== "" && now === before;
      before = now;
      return isStill ? now : undefined;
    });
  }

  async ghostNow(): Promise<string> {
    const texts = await this.page.locator(GHOST).allTextContents();  // a piece for each colour
    return texts.join("").replaceAll("\u00a0", " ");
  }

  /** Wait until there is no ghost text. */
  async noGhost(): Promise<void> {
    await until("no ghost text", async () => ((await this.ghostNow()) === "" ? true : undefined));
  }

  /** Wait until the editor's own document is exactly this. */
  async holds(name: string, text: string): Promise<void> {
    await until(`${name} is ${JSON.stringify(text)}`, () => (this.code.held.text(name) === text ? true : undefined)).catch((error: unknown) => {
      throw new Error(`${String(error)}; it is ${JSON.stringify(this.code.held.text(name))}`);
    });
  }

  /** The item in the status bar; waits until its tooltip says `part`. */
  async status(part: string): Promise<string> {
    return until(`a status with ${part}`, async () => {
      const label = await this.page.locator('[id="qcn.qcn-agent.qcn.status"] a').first().getAttribute("aria-label").catch(() => null);
      return label?.includes(part) ? label : undefined;
    }, 90_000);  // the first one waits for a cold VS Code
  }

  /** A picture for people to look at. */
  async picture(name: string): Promise<void> {
    mkdirSync(ARTEFACTS, { recursive: true });
    await this.page.screenshot({ path: path.join(ARTEFACTS, `${name}.png`) });
  }
}
