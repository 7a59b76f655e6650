// Reads calendars with ical.js and node-ical: {reader: [{start, end, uid, sequence, method, summary, description}]} as JSON.
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'

const require = createRequire(process.argv[2])
const ical = (await import(require.resolve('ical.js'))).default
const nodeIcal = require('node-ical')

const readers = {
  'ical.js': (ics) => {
    const calendar = new ical.Component(ical.parse(ics))
    const event = new ical.Event(calendar.getFirstSubcomponent('vevent'))
    return {
      start: event.startDate.toJSDate().getTime(),
      end: event.endDate.toJSDate().getTime(),
      uid: event.uid,
      sequence: event.sequence,
      method: calendar.getFirstPropertyValue('method'),
      summary: event.summary,
      description: event.description,
    }
  },
  'node-ical': (ics) => {
    const read = nodeIcal.sync.parseICS(ics)
    const event = Object.values(read).find((one) => one.type === 'VEVENT')
    return {
      start: event.start.getTime(),
      end: event.end.getTime(),
      uid: event.uid,
      sequence: Number(event.sequence),
      method: read.vcalendar.method,
      summary: event.summary,
      description: event.description,
    }
  },
}

const calendars = JSON.parse(await text(process.stdin))
const answers = Object.entries(readers).map(([name, read]) => [name, calendars.map(read)])
process.stdout.write(JSON.stringify(Object.fromEntries(answers)))
