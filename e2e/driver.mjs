// Drives one browser for the Go tests of this folder. Each line of standard input is a call, each line of standard output
// its answer; when the input ends, so does the browser.
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

const { executable, profile, pin, patience } = JSON.parse(process.argv[2])

const context = await chromium.launchPersistentContext(profile, {
  executablePath: executable,
  headless: true,
  timeout: patience,
  viewport: { width: 1280, height: 900 },
  args: [
    '--headless', '--no-sandbox', // continuous integration runs as root
    '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    '--no-proxy-server', // a proxy variable in the environment would capture the .test names
    '--host-resolver-rules=MAP *.test 127.0.0.1',
    // Unlike ignoring every certificate error this keeps HSTS and the other rules of TLS alive.
    '--ignore-certificate-errors-spki-list=' + pin,
  ],
})

// A place is a page, or a frame of one; calls name it by its number.
const places = []
const take = (page, frame, trouble) => places.push({ page, frame, trouble }) - 1
const frameOf = call => places[call.at].frame
const part = call => frameOf(call).locator(`[data-test="${call.part}"]`)

const does = {
  async open({ url }) {
    const page = await context.newPage()
    page.setDefaultTimeout(patience)
    const trouble = []
    page.on('console', m => { if (['error', 'warning'].includes(m.type())) trouble.push(m.text()) })
    page.on('pageerror', e => trouble.push(String(e)))
    const answer = await page.goto(url)
    return { at: take(page, page.mainFrame(), trouble), status: answer?.status() ?? 0 }
  },
  async goto({ at, url }) {
    const answer = await places[at].page.goto(url)
    return { at, status: answer?.status() ?? 0 }
  },
  async embed({ at, attributes }) {
    const { page, frame, trouble } = places[at]
    const element = await frame.evaluateHandle(embed, attributes)
    return { at: take(page, await element.contentFrame(), trouble), status: 0 }
  },
  url: call => frameOf(call).evaluate(() => location.href),
  trouble: ({ at }) => places[at].trouble.splice(0),
  cookies: async () => (await context.cookies()).map(c => c.name),

  // The page's own scripts could do what these do: they run in it, under its origin and its policy.
  dial: call => frameOf(call).evaluate(dial, [call.url, call.protocols ?? [], call.patience, call.orError]),
  worker: call => frameOf(call).evaluate(dialInWorker, call.url),
  ended: call => frameOf(call).evaluate(ended, call.patience),
  send: call => frameOf(call).evaluate(([text, times]) => { for (let i = 0; i < times; i++) window.socket.send(text) }, [call.text, call.times]),
  leave: call => frameOf(call).evaluate(([code, reason]) => window.socket.close(code, reason), [call.code, call.text]),

  click: call => part(call).click(),
  fill: call => part(call).fill(call.text),
  press: call => part(call).press(call.text),
  text: call => part(call).innerText(),
  html: call => part(call).innerHTML(),
  shows: call => part(call).filter({ hasText: call.text, visible: true }).waitFor(),
  record: call => part(call).evaluate(element => {
    element.texts = []
    new MutationObserver(() => element.texts.push(element.innerText)).observe(element, { childList: true, characterData: true, subtree: true })
  }),
  recorded: call => part(call).evaluate((element, { text, patience }) => new Promise(done => {
    const look = () => { if (element.texts.some(one => one.includes(text))) done(element.texts) }
    new MutationObserver(look).observe(element, { childList: true, characterData: true, subtree: true })
    setTimeout(() => done(element.texts), patience)
    look()
  }), call),

  picture: ({ at, path }) => places[at].page.screenshot({ path }).then(() => {}),
  close: ({ at }) => places[at].page.close(),
  async reset() {
    for (const page of context.pages().slice(1)) await page.close() // the first keeps the browser alive
    await context.clearCookies()
  },
}

// dial promises what the page sees until the socket is open, or is over, or has an error where that is enough, or patience
// ends.
function dial([url, protocols, patience, orError]) {
  return new Promise(done => {
    const seen = window.seen = []
    const note = text => { seen.push(text); done(seen) }
    window.over = new Promise(over => {
      setTimeout(() => done(seen.concat('nothing')), patience)
      try {
        const socket = window.socket = new WebSocket(url, protocols)
        socket.onopen = () => note(`open ${socket.protocol}`.trim())
        socket.onmessage = e => seen.push('message ' + e.data)
        socket.onerror = () => orError ? note('error') : seen.push('error')
        socket.onclose = e => {
          // With something left to send a page is never told that it was clean.
          note(`close ${e.code} ${e.reason}`.trim() + (e.wasClean || socket.bufferedAmount > 0 ? '' : ', not clean'))
          over()
        }
      } catch (e) {
        note('throw ' + e.name)
      }
    })
  })
}

function dialInWorker(url) {
  const script = `const s = new WebSocket(${JSON.stringify(url)}); s.onopen = () => { postMessage(['open']); s.close(1000) }
    s.onclose = e => postMessage(['error', 'close ' + e.code])`
  return new Promise((done, failed) => {
    const worker = new Worker(URL.createObjectURL(new Blob([script])))
    worker.onmessage = e => done(e.data)
    worker.onerror = e => failed(new Error(e.message))
  })
}

async function ended(patience) {
  await Promise.race([window.over, new Promise(late => setTimeout(late, patience))])
  return window.seen
}

// embed adds a frame and waits until it shows something, be it the browser's own error page.
function embed(attributes) {
  return new Promise(done => {
    const frame = document.createElement('iframe')
    for (const [name, value] of Object.entries(attributes)) frame.setAttribute(name, value)
    frame.onload = () => done(frame)
    document.body.append(frame)
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line)
  let answer
  try {
    answer = { value: (await does[call.do](call)) ?? null }
  } catch (e) {
    answer = { error: `${call.do}: ${e.message}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
await context.close()
