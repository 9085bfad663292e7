// kafkajs: the protocol in JavaScript.
//
// Prints a line per check, as checks.py does, and every wait has a deadline.

'use strict'

const { fork } = require('node:child_process')
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')

// Its other codecs are add-ons in C++, which are compiled where they are installed.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
const CODECS = { gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

const CANNOT = {
  cooperative: 'it has no assignor that keeps partitions during a rebalance',
  static: 'its members have no instance id',
}

const SOON_MS = 30_000
const CHECK_MS = 90_000
const SESSION_MS = 6_000
const PARTITIONS = 4
const BULK_RECORDS = 20_000
const BASE_MS = (Math.floor(Date.now() / 1000) - 3600) * 1000

const [bootstrap, ...rest] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING })
const admin = kafka.admin()

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const topicOf = check => `kafkajs.${check}`

function expect(actual, expected, what) {
  const [found, wanted] = [actual, expected].map(value => JSON.stringify(value))
  if (found !== wanted) throw new Error(`${what}: ${found.slice(0, 200)}, expected ${wanted.slice(0, 200)}`)
}

async function until(condition, what) {
  for (const deadline = Date.now() + SOON_MS; !(await condition()); await sleep(50)) {
    if (deadline < Date.now()) throw new Error(`not within ${SOON_MS} ms: ${what()}`)
  }
}

async function create(topic, partitions) {
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] })
  await until(async () => (await admin.listTopics()).includes(topic), () => 'the topic is listed')
}

async function produce(topic, messages, settings = {}) {
  const { compression, ...producerSettings } = settings
  const producer = kafka.producer(producerSettings)
  await producer.connect()
  // A send is one request, which has to stay below what a broker takes.
  for (let start = 0; start < messages.length; start += 500) {
    await producer.send({ topic, messages: messages.slice(start, start + 500), compression })
  }
  await producer.disconnect()
}

const values = (start, end) =>
  Array.from({ length: end - start }, (_, n) => ({ key: `key ${start + n}`, value: `value ${start + n}` }))

/** A consumer in a group, with what it has been given and has read. */
class Member {
  constructor(topic, groupId, settings = {}) {
    const { run, ...consumerSettings } = settings
    this.topic = topic
    this.settings = run
    this.seen = []
    this.assigned = []
    // A consumer that stops waits for its last fetch, which by default takes 5 s where nothing comes.
    this.consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 500, ...consumerSettings })
    this.consumer.on('consumer.group_join', ({ payload }) => {
      this.assigned = (payload.memberAssignment[topic] ?? []).slice().sort()
    })
    this.consumer.on('consumer.rebalancing', () => (this.assigned = []))
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topic: this.topic, fromBeginning: true })
    await this.consumer.run({
      ...this.settings,
      eachMessage: async ({ partition, message }) => {
        this.seen.push({ partition, ...message })
        this.onMessage?.(message)
      },
    })
    return this
  }

  async read(count) {
    await until(() => count <= this.seen.length, () => `${this.seen.length} of ${count} records`)
    return this.seen.splice(0)
  }

  stop() {
    return this.consumer.disconnect()
  }
}

const join = (topic, groupId = topic, settings) => new Member(topic, groupId, settings).start()

async function readAll(topic, count) {
  const member = await join(topic, `${topic}.reader`)
  const seen = await member.read(count)
  await member.stop()
  expect(seen.length, count, 'records')
  return seen
}

const CHECKS = {
  async produce() {
    const topic = topicOf('produce')
    const sent = Array.from({ length: 100 }, (_, n) => ({
      key: `ключ ${n}`,
      value: 'x'.repeat(n),
      headers: { trace: ['one', `${n}`], empty: '' },
      timestamp: String(BASE_MS + 1000 * n),
    }))
    sent.push({ key: 'tombstone', value: null, headers: {}, timestamp: String(BASE_MS) })
    sent.push({ key: null, value: 'no key', headers: {}, timestamp: String(BASE_MS) })
    await produce(topic, sent)
    const text = value => (Array.isArray(value) ? value.map(String) : String(value))
    const seen = (await readAll(topic, sent.length)).map(message => ({
      key: message.key && String(message.key),
      value: message.value && String(message.value),
      headers: Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, text(value)])),
      timestamp: message.timestamp,
    }))
    // An empty value comes back as an empty buffer, which counts as true; nothing comes back as null.
    expect(seen, sent, 'what came back')
  },

  async compression() {
    for (const [name, compression] of Object.entries(CODECS)) {
      const topic = topicOf(`compression.${name}`)
      await create(topic, 1)
      const sent = Array.from({ length: 500 }, (_, n) => `value ${n} ${'x'.repeat(n)}`)
      await produce(topic, sent.map(value => ({ value })), { compression })
      expect((await readAll(topic, 500)).map(message => String(message.value)), sent, name)
    }
  },

  async idempotence() {
    const topic = topicOf('idempotence')
    await create(topic, 1)
    for (const start of [0, 300, 600]) await produce(topic, values(start, start + 300), { idempotent: true })
    const seen = await readAll(topic, 900)
    expect(seen.map(message => String(message.value)), values(0, 900).map(message => message.value), 'values')
  },

  async bulk() {
    const topic = topicOf('bulk')
    await create(topic, PARTITIONS)
    const sent = Array.from({ length: BULK_RECORDS }, (_, n) => `${n} ${'.'.repeat(1000)}`)
    await produce(topic, sent.map(value => ({ key: value.slice(0, 8), value })))
    const seen = await readAll(topic, BULK_RECORDS)
    expect(new Set(seen.map(message => String(message.value))).size, BULK_RECORDS, 'different values')
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const offsets = seen.filter(message => message.partition === partition).map(message => message.offset)
      expect(offsets.every((offset, n) => offset === String(n)), true, `partition ${partition} came in order`)
    }
  },

  async resume() {
    const topic = topicOf('resume')
    await create(topic, 1)
    await produce(topic, values(0, 100))
    const first = await join(topic, topic, { run: { autoCommit: false } })
    await first.read(100)
    await first.consumer.commitOffsets([{ topic, partition: 0, offset: '60' }])
    await first.stop()
    const second = await join(topic)
    expect((await second.read(40))[0].offset, '60', 'the first offset after a commit of 60')
    await second.stop()
    expect(await committed(topic, topic), ['100'], 'committed on leaving')
    await produce(topic, values(100, 101))
    const third = await join(topic)
    expect((await third.read(1))[0].offset, '100', 'the offset after leaving')
    await third.stop()
  },

  async seek() {
    const topic = topicOf('seek')
    await create(topic, 1)
    const sent = Array.from({ length: 100 }, (_, n) => ({ value: `${n}`, timestamp: String(BASE_MS + 1000 * n) }))
    await produce(topic, sent)
    const member = await join(topic)
    await member.read(100)
    member.consumer.seek({ topic, partition: 0, offset: '40' })
    expect((await member.read(60))[0].offset, '40', 'the first offset after a seek to 40')
    const [{ offset }] = await admin.fetchTopicOffsetsByTimestamp(topic, BASE_MS + 69_500)
    expect(offset, '70', 'the offset of the first record from 69.5 s on')
    member.consumer.seek({ topic, partition: 0, offset })
    expect((await member.read(30))[0].offset, '70', 'the first offset after a seek to a time')
    await member.stop()
  },

  rebalance: () => takeOver('rebalance', topic => join(topic)),

  death: () => takeOver('death', topic => new Process(topic), { sessionTimeout: SESSION_MS, heartbeatInterval: 1000 }),

  async topics() {
    const topic = topicOf('topics')
    await create(topic, 3)
    const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
    expect(await partitions(), 3, 'partitions')
    expect(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), false, 'created a second time')
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await until(async () => (await partitions()) === 5, () => 'the topic has grown to 5 partitions')
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !(await admin.listTopics()).includes(topic), () => 'the topic is gone')
  },

  async configs() {
    const topic = topicOf('configs')
    await create(topic, 1)
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const retention = async () => {
      const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
      return resources[0].configEntries.find(entry => entry.configName === 'retention.ms').configValue
    }
    expect(await retention(), '604800000', 'the default of retention.ms')
    const configEntries = [{ name: 'retention.ms', value: '7200000' }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] })
    await until(async () => (await retention()) === '7200000', () => 'retention.ms is what was set')
  },

  async groups() {
    const topic = topicOf('groups')
    await create(topic, 2)
    await produce(topic, values(0, 10))
    const described = async () => {
      const { groups } = await admin.describeGroups([topic])
      return [groups[0].state, groups[0].members.length]
    }
    const listed = async () => (await admin.listGroups()).groups.some(group => group.groupId === topic)
    const member = await join(topic)
    await member.read(10)
    expect(await listed(), true, 'the group is listed')
    expect(await described(), ['Stable', 1], 'state and members of a group at work')
    await member.stop()
    expect(await described(), ['Empty', 0], 'state and members of a group that was left')
    await admin.deleteGroups([topic])
    expect(await listed(), false, 'the group is listed after it was deleted')
  },

  async offsets() {
    const topic = topicOf('offsets')
    await create(topic, 1)
    await produce(topic, values(0, 100))
    const member = await join(topic, topic, { run: { autoCommit: false } })
    await member.read(100)
    await member.consumer.commitOffsets([{ topic, partition: 0, offset: '70' }])
    await member.stop()
    const ends = async () => (await admin.fetchTopicOffsets(topic)).map(({ low, high }) => [low, high])
    expect(await ends(), [['0', '100']], 'where the partition begins and ends')
    expect(await committed(topic, topic), ['70'], 'committed, and so a lag of 30')
    await admin.setOffsets({ groupId: topic, topic, partitions: [{ partition: 0, offset: '20' }] })
    expect(await committed(topic, topic), ['20'], 'committed after a reset')
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '25' }] })
    expect(await ends(), [['25', '100']], 'where it begins after the first 25 records were deleted')
    const later = await join(topic)
    expect((await later.read(75))[0].offset, '25', 'the first offset that is read')
    await later.stop()
  },
}

async function committed(groupId, topic) {
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return partitions.map(({ offset }) => offset)
}

/** Two members share; one of them leaves or dies and the other takes over; nothing is lost. */
async function takeOver(check, secondMember, settings) {
  const topic = topicOf(check)
  await create(topic, PARTITIONS)
  await produce(topic, values(0, 200))
  const first = await join(topic, topic, settings)
  await until(() => first.assigned.length === PARTITIONS, () => 'the first has all partitions')
  const second = await secondMember(topic)
  const members = [first, second]
  const seen = () => new Set(members.flatMap(member => member.seen.map(message => String(message.value))))
  const shares = () => members.map(member => member.assigned)
  await until(
    () => shares().every(share => share.length === 2) && new Set(shares().flat()).size === PARTITIONS,
    () => `the two share: ${JSON.stringify(shares())}`,
  )
  await produce(topic, values(200, 400))
  await until(() => seen().size === 400, () => `${seen().size} of 400 seen`)
  await second.stop()
  await produce(topic, values(400, 600))
  await until(() => seen().size === 600, () => `${seen().size} of 600 seen`)
  expect(first.assigned, [0, 1, 2, 3], 'the partitions of the member that stayed')
  await first.stop()
}

/** A member in a process of its own, which dies when it is done with. */
class Process {
  constructor(topic) {
    this.seen = []
    this.assigned = []
    this.child = fork(__filename, [bootstrap, 'member', topic])
    this.child.on('message', ({ assigned, value }) => {
      if (assigned) this.assigned = assigned
      else this.seen.push({ value })
    })
  }

  stop() {
    const exited = new Promise(resolve => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    return exited
  }
}

async function beAMember(topic) {
  process.on('disconnect', () => process.exit())
  const member = new Member(topic, topic, { sessionTimeout: SESSION_MS, heartbeatInterval: 1000 })
  member.consumer.on('consumer.group_join', () => process.send({ assigned: member.assigned }))
  member.onMessage = message => process.send({ value: String(message.value) })
  await member.start()
}

async function main() {
  await admin.connect()
  let failed = 0
  for (const [name, check] of Object.entries(CHECKS)) {
    if (rest.length && !rest.includes(name)) continue
    let timer
    const tooLong = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no end after ${CHECK_MS} ms`)), CHECK_MS)
    })
    try {
      await Promise.race([check(), tooLong])
      console.log(`ok ${name}`)
    } catch (error) {
      console.error(error)
      console.log(`FAIL ${name}: ${String(error).replace(/\s+/g, ' ')}`)
      failed += 1
    } finally {
      clearTimeout(timer)
    }
  }
  for (const [name, why] of Object.entries(CANNOT)) console.log(`- ${name}: ${why}`)
  // A check that failed may have left a consumer at work.
  process.exit(failed ? 1 : 0)
}

if (rest[0] === 'member') beAMember(rest[1])
else main()
