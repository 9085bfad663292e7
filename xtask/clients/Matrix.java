// The Java client, with its classic group protocol: `java -cp 'jars/*' Matrix.java ADDRESS`.
//
// Prints a line per check, as checks.py does, and every wait has a deadline.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Matrix {
    static final Duration SOON = Duration.ofSeconds(30);
    static final Duration CHECK = Duration.ofSeconds(90);
    static final Duration MOMENT = Duration.ofMillis(50);
    static final int PARTITIONS = 4;
    static final int BULK_RECORDS = 20_000;
    static final long BASE_MS = (System.currentTimeMillis() / 1000 - 3600) * 1000;
    static final Map<String, String> DYING = Map.of("session.timeout.ms", "6000");
    static final Map<String, String> EAGER = Map.of("partition.assignment.strategy", RangeAssignor.class.getName());
    static final Map<String, String> COOPERATIVE =
        Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());

    static String bootstrap;
    static Admin admin;

    interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        if (1 < arguments.length && arguments[1].equals("member")) {
            beAMember(arguments[2]);
            return;
        }
        admin = Admin.create(settings(Map.of()));
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("produce", Matrix::produce);
        checks.put("compression", Matrix::compression);
        checks.put("idempotence", Matrix::idempotence);
        checks.put("bulk", Matrix::bulk);
        checks.put("resume", Matrix::resume);
        checks.put("seek", Matrix::seek);
        checks.put("rebalance", () -> takeOver("rebalance", EAGER, topic -> new Working(topic, EAGER)));
        checks.put("death", () -> takeOver("death", DYING, Process::new));
        checks.put("cooperative", Matrix::cooperative);
        checks.put("static", Matrix::staticMembership);
        checks.put("topics", Matrix::topics);
        checks.put("configs", Matrix::configs);
        checks.put("groups", Matrix::groups);
        checks.put("offsets", Matrix::offsets);
        List<String> wanted = List.of(arguments).subList(1, arguments.length);
        int failed = 0;
        for (var check : checks.entrySet()) {
            if (wanted.isEmpty() || wanted.contains(check.getKey())) {
                failed += run(check.getKey(), check.getValue()) ? 0 : 1;
            }
        }
        // A check that failed may have left a consumer at work.
        System.exit(failed == 0 ? 0 : 1);
    }

    static boolean run(String name, Check check) {
        ExecutorService executor = Executors.newSingleThreadExecutor();
        Future<?> running = executor.submit(() -> {
            check.run();
            return null;
        });
        try {
            running.get(CHECK.toSeconds(), TimeUnit.SECONDS);
            System.out.println("ok " + name);
            return true;
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            cause.printStackTrace();
            System.out.println("FAIL " + name + ": " + cause.toString().replaceAll("\\s+", " "));
            return false;
        } finally {
            executor.shutdownNow();
        }
    }

    static void produce() throws Exception {
        String topic = topicOf("produce");
        List<ProducerRecord<String, String>> sent = new ArrayList<>();
        for (int n = 0; n < 100; n++) {
            var record = new ProducerRecord<>(topic, null, BASE_MS + 1000 * n, "ключ " + n, "x".repeat(n));
            record.headers().add("trace", new byte[] {0, -1}).add("trace", bytes("" + n)).add("nothing", null);
            sent.add(record);
        }
        sent.add(new ProducerRecord<>(topic, null, BASE_MS, "tombstone", (String) null));
        sent.add(new ProducerRecord<>(topic, null, BASE_MS, (String) null, "no key"));
        send(sent, Map.of());
        var seen = readAll(topic, sent.size());
        for (int n = 0; n < sent.size(); n++) {
            var record = seen.get(n);
            expect(record.key(), sent.get(n).key(), "key of record " + n);
            expect(record.value(), sent.get(n).value(), "value of record " + n);
            expect(record.timestamp(), sent.get(n).timestamp(), "timestamp of record " + n);
            expect(Arrays.asList(record.headers().toArray()).toString(),
                Arrays.asList(sent.get(n).headers().toArray()).toString(), "headers of record " + n);
        }
    }

    static void compression() throws Exception {
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            String topic = topicOf("compression." + codec);
            create(topic, 1);
            var sent = IntStream.range(0, 500).mapToObj(n -> "value " + n + " " + "x".repeat(n)).toList();
            send(sent.stream().map(value -> new ProducerRecord<String, String>(topic, value)).toList(),
                Map.of("compression.type", codec, "linger.ms", "20"));
            expect(readAll(topic, 500).stream().map(ConsumerRecord::value).toList(), sent, codec);
        }
    }

    static void idempotence() throws Exception {
        String topic = topicOf("idempotence");
        create(topic, 1);
        for (int start = 0; start < 900; start += 300) {
            send(values(topic, start, start + 300), Map.of("enable.idempotence", "true"));
        }
        var seen = readAll(topic, 900);
        var offsets = LongStream.range(0, 900).boxed().toList();
        expect(seen.stream().map(ConsumerRecord::offset).toList(), offsets, "offsets");
        var sent = values(topic, 0, 900).stream().map(ProducerRecord::value).toList();
        expect(seen.stream().map(ConsumerRecord::value).toList(), sent, "values");
    }

    static void bulk() throws Exception {
        String topic = topicOf("bulk");
        create(topic, PARTITIONS);
        String padding = ".".repeat(1000);
        send(IntStream.range(0, BULK_RECORDS)
            .mapToObj(n -> new ProducerRecord<>(topic, "key " + n, n + " " + padding)).toList(), Map.of());
        var seen = readAll(topic, BULK_RECORDS);
        expect(seen.stream().map(ConsumerRecord::value).distinct().count(), (long) BULK_RECORDS, "different values");
        for (int partition = 0; partition < PARTITIONS; partition++) {
            int wanted = partition;
            var offsets = seen.stream().filter(r -> r.partition() == wanted).map(ConsumerRecord::offset).toList();
            expect(offsets, LongStream.range(0, offsets.size()).boxed().toList(), "offsets of partition " + partition);
        }
    }

    static void resume() throws Exception {
        String topic = topicOf("resume");
        create(topic, 1);
        send(values(topic, 0, 100), Map.of());
        try (var first = join(topic, topic, Map.of("enable.auto.commit", "false"))) {
            poll(first, 100);
            first.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(60)));
        }
        try (var second = join(topic, topic, Map.of())) {
            expect(poll(second, 40).get(0).offset(), 60L, "the first offset after a commit of 60");
        }
        expect(committed(topic), Map.of(0, 100L), "committed on leaving");
        send(values(topic, 100, 101), Map.of());
        try (var third = join(topic, topic, Map.of())) {
            expect(poll(third, 1).get(0).offset(), 100L, "the offset after leaving");
        }
    }

    static void seek() throws Exception {
        String topic = topicOf("seek");
        create(topic, 1);
        send(IntStream.range(0, 100)
            .mapToObj(n -> new ProducerRecord<String, String>(topic, null, BASE_MS + 1000 * n, null, "" + n))
            .toList(), Map.of());
        var partition = new TopicPartition(topic, 0);
        try (var member = join(topic, topic, Map.of())) {
            poll(member, 100);
            member.seek(partition, 40);
            expect(poll(member, 60).get(0).offset(), 40L, "the first offset after a seek to 40");
            var found = member.offsetsForTimes(Map.of(partition, BASE_MS + 69_500)).get(partition);
            expect(found.offset(), 70L, "the offset of the first record from 69.5 s on");
            expect(found.timestamp(), BASE_MS + 70_000, "its timestamp");
            member.seek(partition, found.offset());
            expect(poll(member, 30).get(0).offset(), 70L, "the first offset after a seek to a time");
            var after = member.offsetsForTimes(Map.of(partition, BASE_MS + 100_000)).get(partition);
            expect(after, null, "what is after the last record");
            member.seekToBeginning(List.of(partition));
            expect(poll(member, 100).get(0).offset(), 0L, "the first offset after a seek to the beginning");
            member.seekToEnd(List.of(partition));
            expect(member.position(partition), 100L, "the position at the end");
        }
    }

    /** Two members share; one of them leaves or dies and the other takes over; nothing is lost. */
    static void takeOver(String check, Map<String, String> settings, Function<String, Member> secondMember)
            throws Exception {
        String topic = topicOf(check);
        create(topic, PARTITIONS);
        Set<String> sent = sendValues(topic, 0, 200);
        try (Member first = new Working(topic, settings)) {
            until(() -> first.assigned().size() == PARTITIONS, () -> "the first has all partitions");
            Member second = secondMember.apply(topic);
            try (second) {
                until(() -> shareEvenly(first, second), () -> "the two share: " + first.assigned() + second.assigned());
                sent.addAll(sendValues(topic, 200, 400));
                untilSeen(sent, first, second);
            }
            sent.addAll(sendValues(topic, 400, 600));
            untilSeen(sent, first, second);
            expect(first.assigned(), Set.of(0, 1, 2, 3), "the partitions of the member that stayed");
        }
    }

    static void cooperative() throws Exception {
        String topic = topicOf("cooperative");
        create(topic, PARTITIONS);
        try (Working first = new Working(topic, COOPERATIVE)) {
            until(() -> first.assigned().size() == PARTITIONS, () -> "the first has all partitions");
            Working second = new Working(topic, COOPERATIVE);
            Set<String> sent;
            List<Integer> lost;
            try (second) {
                until(() -> shareEvenly(first, second), () -> "the two share: " + first.assigned() + second.assigned());
                lost = List.copyOf(first.lost);
                var has = new TreeSet<>(second.assigned());
                expect(new TreeSet<>(lost), has, "what the first lost is what the second has");
                sent = sendValues(topic, 0, 200);
                untilSeen(sent, first, second);
            }
            until(() -> first.assigned().size() == PARTITIONS, () -> "the first has all again");
            expect(List.copyOf(first.lost), lost, "what the first has lost in all");
            sent.addAll(sendValues(topic, 200, 300));
            untilSeen(sent, first, second);
        }
    }

    /** A static member that is back within its session has its partitions again, and no one else notices. */
    static void staticMembership() throws Exception {
        String topic = topicOf("static");
        create(topic, PARTITIONS);
        try (Working first = new Working(topic, Map.of("group.instance.id", "first"))) {
            Set<Integer> had;
            int rebalances;
            try (Working second = new Working(topic, Map.of("group.instance.id", "second"))) {
                until(() -> shareEvenly(first, second), () -> "the two share: " + first.assigned() + second.assigned());
                had = second.assigned();
                rebalances = first.taken.size();
            }
            try (Working second = new Working(topic, Map.of("group.instance.id", "second"))) {
                until(() -> !second.assigned().isEmpty(), () -> "the second has its share again");
                expect(second.assigned(), had, "the partitions of the member that came back");
                untilSeen(sendValues(topic, 0, 200), first, second);
            }
            expect(first.taken.size(), rebalances, "rebalances of the member that stayed");
        }
    }

    static void topics() throws Exception {
        String topic = topicOf("topics");
        create(topic, 3);
        expect(partitions(topic), 3, "partitions");
        try {
            create(topic, 3);
            throw new AssertionError("a topic was created twice");
        } catch (ExecutionException error) {
            expect(error.getCause().getClass(), TopicExistsException.class, "the error of a second creation");
        }
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
        until(() -> partitions(topic) == 5, () -> "the topic has grown to 5 partitions");
        get(admin.deleteTopics(List.of(topic)).all());
        until(() -> !topicNames().contains(topic), () -> "the topic is gone");
        expect(get(admin.describeCluster().nodes()).size(), 1, "nodes");
    }

    static void configs() throws Exception {
        String topic = topicOf("configs");
        create(topic, 1);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        expect(config(resource, "retention.ms").value(), "604800000", "the default of retention.ms");
        expect(config(resource, "retention.ms").isDefault(), true, "retention.ms is a default");
        alter(resource, "7200000", AlterConfigOp.OpType.SET);
        until(() -> config(resource, "retention.ms").value().equals("7200000"), () -> "retention.ms is what was set");
        expect(config(resource, "retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
        alter(resource, "", AlterConfigOp.OpType.DELETE);
        until(() -> config(resource, "retention.ms").isDefault(), () -> "retention.ms is its default again");
    }

    static void groups() throws Exception {
        String topic = topicOf("groups");
        create(topic, 2);
        send(values(topic, 0, 10), Map.of());
        try (var member = join(topic, topic, Map.of())) {
            poll(member, 10);
            expect(groupNames().contains(topic), true, "the group is listed");
            expect(describeGroup(topic), "Stable 1", "state and members of a group at work");
        }
        until(() -> describeGroup(topic).equals("Empty 0"), () -> "the group is empty: " + describeGroup(topic));
        get(admin.deleteConsumerGroups(List.of(topic)).all());
        until(() -> !groupNames().contains(topic), () -> "the group is gone");
    }

    static void offsets() throws Exception {
        String topic = topicOf("offsets");
        var partition = new TopicPartition(topic, 0);
        create(topic, 1);
        send(values(topic, 0, 100), Map.of());
        try (var member = join(topic, topic, Map.of("enable.auto.commit", "false"))) {
            poll(member, 100);
            member.commitSync(Map.of(partition, new OffsetAndMetadata(70, "note")));
            expect(member.committed(Set.of(partition)).get(partition).metadata(), "note", "metadata of the commit");
        }
        expect(ends(partition), List.of(0L, 100L), "where the partition begins and ends");
        expect(committed(topic), Map.of(0, 70L), "committed, and so a lag of 30");
        get(admin.alterConsumerGroupOffsets(topic, Map.of(partition, new OffsetAndMetadata(20))).all());
        expect(committed(topic), Map.of(0, 20L), "committed after a reset");
        var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(25)));
        expect(get(deleted.lowWatermarks().get(partition)).lowWatermark(), 25L, "the start that deletion reports");
        expect(ends(partition), List.of(25L, 100L), "where it begins after the first 25 records were deleted");
        try (var member = join(topic, topic, Map.of())) {
            expect(poll(member, 75).get(0).offset(), 25L, "the first offset that is read");
        }
        get(admin.deleteConsumerGroupOffsets(topic, Set.of(partition)).all());
        expect(committed(topic), Map.of(), "committed after it was deleted");
    }

    /** What a rebalance looks at, whether the member is a thread or a process. */
    interface Member extends AutoCloseable {
        Set<Integer> assigned();

        Set<String> seen();

        @Override
        void close() throws Exception;
    }

    /** A member that works in a thread of its own, as in an application. */
    static final class Working implements Member, ConsumerRebalanceListener {
        final Set<String> seen = ConcurrentHashMap.newKeySet();
        final Set<Integer> assigned = ConcurrentHashMap.newKeySet();
        final Collection<Collection<TopicPartition>> taken = new ConcurrentLinkedQueue<>();
        final Collection<Integer> lost = new ConcurrentLinkedQueue<>();
        private volatile boolean stop;
        private final CompletableFuture<Void> ended;

        Working(String topic, Map<String, String> settings) {
            ended = CompletableFuture.runAsync(() -> {
                try (var consumer = consumer(topic, settings)) {
                    consumer.subscribe(List.of(topic), this);
                    while (!stop) {
                        consumer.poll(MOMENT).forEach(record -> seen.add(record.value()));
                    }
                }
            }, task -> new Thread(task, "member").start());
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            partitions.forEach(partition -> assigned.add(partition.partition()));
            taken.add(partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            if (!stop) {
                partitions.forEach(partition -> lost.add(partition.partition()));
            }
            partitions.forEach(partition -> assigned.remove(partition.partition()));
        }

        @Override
        public Set<Integer> assigned() {
            return Set.copyOf(assigned);
        }

        @Override
        public Set<String> seen() {
            return seen;
        }

        @Override
        public void close() throws Exception {
            stop = true;
            ended.get(SOON.toSeconds(), TimeUnit.SECONDS);
        }
    }

    /** A member in a process of its own, which dies when it is done with. */
    static final class Process implements Member {
        private final java.lang.Process process;
        private final Set<String> seen = ConcurrentHashMap.newKeySet();
        private volatile Set<Integer> assigned = Set.of();

        Process(String topic) {
            try {
                // As this process was started, up to the address.
                var own = ProcessHandle.current().info();
                List<String> command = new ArrayList<>(List.of(own.command().orElseThrow()));
                command.addAll(List.of(own.arguments().orElseThrow()));
                command = new ArrayList<>(command.subList(0, command.indexOf(bootstrap) + 1));
                command.addAll(List.of("member", topic));
                process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
            Thread reader = new Thread(this::read, "reader");
            reader.setDaemon(true);
            reader.start();
        }

        private void read() {
            new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8)).lines()
                .forEach(line -> {
                    if (line.startsWith("assigned")) {
                        assigned = Arrays.stream(line.split(" ")).skip(1).map(Integer::valueOf)
                            .collect(Collectors.toSet());
                    } else {
                        seen.add(line.substring("seen ".length()));
                    }
                });
        }

        @Override
        public Set<Integer> assigned() {
            return assigned;
        }

        @Override
        public Set<String> seen() {
            return seen;
        }

        @Override
        public void close() throws Exception {
            process.destroyForcibly().waitFor(SOON.toSeconds(), TimeUnit.SECONDS);
        }
    }

    /** Says what it has and what it reads, until it is killed or the process that asked for it has ended. */
    static void beAMember(String topic) {
        ProcessHandle parent = ProcessHandle.current().parent().orElseThrow();
        try (var consumer = consumer(topic, DYING)) {
            consumer.subscribe(List.of(topic));
            Set<TopicPartition> said = Set.of();
            while (parent.isAlive()) {
                consumer.poll(MOMENT).forEach(record -> System.out.println("seen " + record.value()));
                if (!consumer.assignment().equals(said)) {
                    said = Set.copyOf(consumer.assignment());
                    System.out.println("assigned " + said.stream().map(p -> "" + p.partition())
                        .collect(Collectors.joining(" ")));
                }
            }
        }
    }

    static String topicOf(String check) {
        return "java." + check;
    }

    static Map<String, Object> settings(Map<String, String> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void create(String topic, int partitions) throws Exception {
        get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) -1))).all());
        until(() -> topicNames().contains(topic), () -> "the topic is listed");
    }

    static List<ProducerRecord<String, String>> values(String topic, int start, int end) {
        return IntStream.range(start, end)
            .mapToObj(n -> new ProducerRecord<>(topic, "key " + n, "value " + n)).toList();
    }

    static Set<String> sendValues(String topic, int start, int end) throws Exception {
        var records = values(topic, start, end);
        send(records, Map.of());
        return records.stream().map(ProducerRecord::value).collect(Collectors.toCollection(HashSet::new));
    }

    /** Returns when all are acknowledged. */
    static void send(List<ProducerRecord<String, String>> records, Map<String, String> settings) throws Exception {
        try (var producer = new KafkaProducer<>(settings(settings), new StringSerializer(), new StringSerializer())) {
            var sends = records.stream().map(producer::send).toList();
            for (var send : sends) {
                send.get(SOON.toSeconds(), TimeUnit.SECONDS);
            }
        }
    }

    static KafkaConsumer<String, String> consumer(String group, Map<String, String> more) {
        var settings = settings(more);
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaConsumer<String, String> join(String topic, String group, Map<String, String> settings) {
        var consumer = consumer(group, settings);
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count)
            throws Exception {
        List<ConsumerRecord<String, String>> seen = new ArrayList<>();
        until(() -> {
            consumer.poll(MOMENT).forEach(seen::add);
            return count <= seen.size();
        }, () -> seen.size() + " of " + count + " records");
        expect(seen.size(), count, "records");
        return seen;
    }

    static List<ConsumerRecord<String, String>> readAll(String topic, int count) throws Exception {
        try (var consumer = join(topic, topic + ".reader", Map.of())) {
            return poll(consumer, count);
        }
    }

    static boolean shareEvenly(Member first, Member second) {
        Set<Integer> all = new HashSet<>(first.assigned());
        all.addAll(second.assigned());
        return first.assigned().size() == 2 && second.assigned().size() == 2 && all.size() == PARTITIONS;
    }

    static void untilSeen(Set<String> sent, Member first, Member second) throws Exception {
        Supplier<Set<String>> missing = () -> {
            Set<String> left = new HashSet<>(sent);
            left.removeAll(first.seen());
            left.removeAll(second.seen());
            return left;
        };
        until(() -> missing.get().isEmpty(), () -> missing.get().size() + " of " + sent.size() + " sent are not seen");
    }

    static Set<String> topicNames() {
        return get(admin.listTopics().names());
    }

    static int partitions(String topic) {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
    }

    static ConfigEntry config(ConfigResource resource, String name) {
        return get(admin.describeConfigs(List.of(resource)).all()).get(resource).get(name);
    }

    static void alter(ConfigResource resource, String value, AlterConfigOp.OpType type) {
        var operation = new AlterConfigOp(new ConfigEntry("retention.ms", value), type);
        get(admin.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all());
    }

    static Set<String> groupNames() {
        return get(admin.listGroups().all()).stream().map(group -> group.groupId()).collect(Collectors.toSet());
    }

    static String describeGroup(String group) {
        var described = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        return described.groupState() + " " + described.members().size();
    }

    static Map<Integer, Long> committed(String group) {
        Map<Integer, Long> committed = new HashMap<>();
        get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
            .forEach((partition, offset) -> committed.put(partition.partition(), offset.offset()));
        return committed;
    }

    static List<Long> ends(TopicPartition partition) {
        return List.of(
            get(admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition)).offset(),
            get(admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition)).offset());
    }

    /** What a call to the broker returns; its own error is thrown as it is. */
    static <T> T get(KafkaFuture<T> future) {
        try {
            return future.get(SOON.toSeconds(), TimeUnit.SECONDS);
        } catch (Exception error) {
            throw sneaky(error);
        }
    }

    @SuppressWarnings("unchecked")
    static <E extends Throwable> RuntimeException sneaky(Throwable error) throws E {
        throw (E) error;
    }

    static void until(BooleanSupplier condition, Supplier<String> what) throws InterruptedException {
        long deadline = System.nanoTime() + SOON.toNanos();
        while (!condition.getAsBoolean()) {
            if (deadline < System.nanoTime()) {
                throw new AssertionError("not within " + SOON.toSeconds() + " s: " + what.get());
            }
            Thread.sleep(20);
        }
    }

    static void expect(Object actual, Object expected, String what) {
        if (!java.util.Objects.equals(actual, expected)) {
            String found = String.valueOf(actual), wanted = String.valueOf(expected);
            throw new AssertionError(what + ": " + found.substring(0, Math.min(200, found.length())) + ", expected "
                + wanted.substring(0, Math.min(200, wanted.length())));
        }
    }
}
