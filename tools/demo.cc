#include "tools/demo.h"

#include <tern/store.h>
#include <tern/typed.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace tern::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Time that stands still until it is told to go on.
class ManualClock final : public Clock {
 public:
  milliseconds now() const noexcept override {
    return milliseconds(now_.load(std::memory_order_relaxed));
  }
  void advance(milliseconds by) noexcept { now_.fetch_add(by.count(), std::memory_order_relaxed); }

 private:
  // Relaxed: a number that orders nothing.
  std::atomic<milliseconds::rep> now_{1'000'000};
};

// Prints a line for each step, and remembers whether one came out otherwise than it should.
class Steps {
 public:
  void section(const char* title) { std::printf("\n%s\n", title); }

  __attribute__((format(printf, 3, 4))) void step(bool as_expected, const char* format, ...) {
    std::va_list arguments;
    va_start(arguments, format);
    std::printf("  %s ", as_expected ? "ok  " : "BAD ");
    std::vprintf(format, arguments);
    std::printf("\n");
    va_end(arguments);
    ++count_;
    surprises_ += !as_expected;
  }

  int finish() const {
    std::printf("\n%u steps, %u surprises\n", count_, surprises_);
    return surprises_ == 0 ? 0 : 1;
  }

 private:
  unsigned count_ = 0;
  unsigned surprises_ = 0;
};

void reads_and_writes(Steps& s, const Store& store) {
  s.section("Reads and writes");
  const Result<std::uint64_t> first = store.set("player:17", "Ada");
  s.step(first.ok(), "set player:17 to Ada: version %" PRIu64, *first);
  const Lookup<Value> value = store.get("player:17");
  s.step(value && value->view() == "Ada", "get player:17: %.*s", static_cast<int>(value->size()),
         value->data());
  const Lookup<Value> absent = store.get("player:99");
  s.step(absent.missing(), "get player:99: %s, which is an answer and no error",
         status_name(absent.status()));

  std::array<char, 2> small{};
  const Lookup<std::size_t> size = store.get("player:17", std::span<char>(small));
  s.step(size && *size == 3 && small[0] == 0,
         "get into 2 bytes: the value has %zu, nothing was copied", *size);
  std::array<char, 16> buffer{};
  const Lookup<std::size_t> copied = store.get("player:17", std::span<char>(buffer));
  s.step(copied && std::string_view(buffer.data(), *copied) == "Ada",
         "get into 16 bytes: %zu copied, nothing allocated", *copied);

  const Result<std::uint64_t> second = store.set("player:17", "Ada Lovelace");
  s.step(second && *second > *first, "set it anew: version %" PRIu64, *second);
  bool same = false;
  const Lookup<bool> visited =
      store.visit("player:17", [&](std::string_view v) { same = v == "Ada Lovelace"; });
  s.step(visited && same, "visit: a look at the store's own bytes, without a copy");
  const Result<bool> here = store.exists("player:17");
  s.step(here && *here, "exists player:17");
  const Result<std::uint64_t> empty_value = store.set("empty", "");
  const Lookup<Value> empty = store.get("empty");
  s.step(empty_value && empty && empty->empty(), "an empty value is a value");
  const Result<std::uint64_t> no_key = store.set("", "x");
  s.step(no_key.status() == Status::kInvalidKey, "set with an empty key: %s",
         status_name(no_key.status()));

  const Result<bool> gone = store.del("player:17"), again = store.del("player:17");
  s.step(gone && *gone && again && !*again, "del player:17: it was there; once more: it wasn't");
  const Result<std::uint64_t> third = store.set("player:17", "Ada");
  s.step(third && *third > *second,
         "set after the removal: version %" PRIu64 ", versions never go back", *third);
}

void conditions(Steps& s, const Store& store) {
  s.section("Conditions: each is judged and done in one step");
  const Result<bool> taken = store.set_nx("lock", "a"), refused = store.set_nx("lock", "b");
  s.step(taken && *taken && refused && !*refused,
         "set_nx lock: the first one has it, the second one hasn't");
  const Result<bool> wrong = store.compare_and_swap("lock", "b", "c"),
                     right = store.compare_and_swap("lock", "a", "c");
  s.step(wrong && !*wrong && right && *right, "compare_and_swap from b: no; from a: yes");
  SetOptions only_present;
  only_present.if_present = true;
  const Result<std::uint64_t> absent = store.set("nobody", "x", only_present);
  s.step(absent.status() == Status::kNotFound, "set if_present of an absent key: %s",
         status_name(absent.status()));
  const Lookup<Entry> entry = store.get_entry("lock");
  const Result<bool> by_version = store.compare_and_swap_version("lock", entry->version, "d");
  const Result<bool> stale = store.compare_and_swap_version("lock", entry->version, "e");
  s.step(entry && by_version && *by_version && stale && !*stale,
         "compare_and_swap_version %" PRIu64 ": yes, and only once", entry->version);
  Value previous;
  SetOptions tell;
  tell.return_previous = &previous;
  const Result<std::uint64_t> told = store.set("lock", "f", tell);
  s.step(told && previous == "d", "set with return_previous: it was %.*s",
         static_cast<int>(previous.size()), previous.data());
  const Result<bool> kept = store.compare_and_delete("lock", "d"),
                     deleted = store.compare_and_delete("lock", "f");
  s.step(kept && !*kept && deleted && *deleted, "compare_and_delete of d: no; of f: yes");
}

void changes(Steps& s, const Store& store) {
  s.section("Changes in place");
  const Result<std::int64_t> one = store.increment("visits"), ten = store.increment("visits", 9);
  s.step(one && *one == 1 && ten && *ten == 10,
         "increment visits, then by 9: %" PRId64 " and %" PRId64, *one, *ten);
  (void)store.set("word", "seven");
  const Result<std::int64_t> bad = store.increment("word");
  s.step(bad.status() == Status::kWrongType, "increment of a word: %s, nothing changed",
         status_name(bad.status()));
  (void)store.set("edge", "9223372036854775807");
  const Result<std::int64_t> over = store.increment("edge");
  s.step(over.status() == Status::kOutOfRange, "increment past the end: %s",
         status_name(over.status()));
  const Result<double> half = store.increment_float("load", 0.5, 1);
  s.step(half && *half == 1.5, "increment_float load from 1 by 0.5: %g", *half);
  (void)store.append("log", "one;");
  const Result<std::size_t> length = store.append("log", "two;");
  const Lookup<Value> log = store.get("log");
  s.step(length && *length == 8 && log && log->view() == "one;two;", "append twice: %.*s",
         static_cast<int>(log->size()), log->data());
  std::string text;  // outlives the call, as the bytes of a replacement must
  const auto twice = [&text](std::optional<std::string_view> v) {
    if (!v) return Update::keep();
    text.assign(*v);
    text += *v;
    return Update::replace(text);
  };
  const Result<Update::Kind> updated = store.update("log", twice);
  const Lookup<Value> doubled = store.get("log");
  s.step(updated && *updated == Update::Kind::kReplace && doubled && doubled->size() == 16,
         "update with a function: it is %zu bytes now", doubled->size());
  const Result<Update::Kind> removed = store.update("log", [](auto) { return Update::remove(); });
  s.step(removed && store.get("log").missing(), "update may remove, too");
  const Lookup<Value> was = store.get_and_set("visits", "0"), then = store.get_and_del("visits");
  s.step(was && was->view() == "10" && then && then->view() == "0",
         "get_and_set gives 10, get_and_del gives 0");
}

void lifetimes(Steps& s, const Store& store, ManualClock& clock) {
  s.section("Lifetimes, on a clock that only moves when told to");
  SetOptions minute;
  minute.ttl = seconds(60);
  (void)store.set("session:1", "token", minute);
  const auto left = store.ttl("session:1");
  s.step(left && *left && **left == seconds(60), "set for 60 s: %lld ms remain",
         static_cast<long long>(left->value_or(milliseconds(0)).count()));
  clock.advance(milliseconds(59'999));
  s.step(store.get("session:1").found(), "after 59,999 ms: still there");
  clock.advance(milliseconds(1));
  s.step(store.get("session:1").missing(), "after 60,000 ms: a miss, from the instant on");
  (void)store.set("session:2", "token", minute);
  const Result<bool> longer = store.expire("session:2", seconds(120));
  clock.advance(seconds(100));
  s.step(longer && *longer && store.get("session:2").found(),
         "expire extends it to 120 s: there after 100");
  const Result<bool> persisted = store.persist("session:2");
  clock.advance(seconds(1'000'000));
  s.step(persisted && *persisted && store.get("session:2").found(), "persist: it lives on");
  SetOptions never;
  never.ttl = milliseconds(0);
  const Result<std::uint64_t> zero = store.set("session:3", "x", never);
  s.step(zero.status() == Status::kInvalidArgument && zero.error().field == Field::kTtl,
         "a lifetime of 0: %s (%s)", status_name(zero.status()), field_name(zero.error().field));
}

void bytes_without_copies(Steps& s, const Store& store) {
  s.section("Bytes without copies");
  (void)store.set("picture", std::string(1000, 'p'));
  Lookup<HeldValue> held = store.hold("picture");
  (void)store.set("picture", "small");
  s.step(held && held->size() == 1000 && held->view()[999] == 'p',
         "hold: %zu bytes stay as they were while the key is replaced", held->size());
  unsigned holders = 0;
  store.holders([&](const Holder& h) { holders += h.kind == Holder::Kind::kHeldValues; });
  s.step(holders > 0 || held->copied(), "holders: who keeps memory is known");
  held->release();
  Result<Draft> draft = store.allocate("report", 11);
  const bool allocated = draft.ok();
  if (allocated) std::memcpy(draft->bytes().data(), "hello world", 11);
  const bool unseen = store.get("report").missing();
  const Result<std::uint64_t> published =
      allocated ? draft->publish() : Result<std::uint64_t>(draft.error());
  const Lookup<Value> report = store.get("report");
  s.step(allocated && unseen && published && report && report->view() == "hello world",
         "allocate 11 bytes, fill them in place, publish: visible only then");
  {
    const Result<Draft> dropped = store.allocate("never", 100);
    s.step(dropped.ok(), "a draft that is dropped");
  }
  s.step(store.get("never").missing(), "leaves nothing");
}

void many_keys(Steps& s, const Store& store) {
  s.section("Many keys in one call");
  constexpr std::size_t kKeys = 1000;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kKeys; ++i) names.push_back("item:" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& n : names) {
    Item item;
    item.key = n;
    item.value = n;
    items.push_back(item);
  }
  std::vector<Result<std::uint64_t>> answers(kKeys);
  std::size_t stored = 0;
  const Result<void> set = store.set_many(items, answers);
  for (const auto& a : answers) stored += a.ok();
  s.step(set.ok() && stored == kKeys, "set_many: %zu items, an answer for each", stored);
  std::vector<std::string_view> keys(names.begin(), names.end());
  keys[500] = "absent";
  Values values;
  const Result<void> got = store.get_many(keys, values);
  std::size_t right = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    right += values[i].found() && *values[i] == keys[i];
  s.step(got.ok() && values.size() == kKeys && right == kKeys - 1 && values[500].missing(),
         "get_many: %zu found in the order asked, 1 missing", right);
  std::size_t seen = 0;
  const Result<void> visited =
      store.visit_many(keys, [&](std::size_t, Lookup<std::string_view> v) { seen += v.found(); });
  s.step(visited.ok() && seen == kKeys - 1, "visit_many: %zu looked at in place", seen);
  const Result<void> moment =
      store.get_many_at_one_moment(std::span<const std::string_view>(keys).first(100), values);
  s.step(moment.ok() && values.size() == 100 && values[99].found(),
         "get_many_at_one_moment: 100 values of one instant");
  std::vector<Result<bool>> removed(kKeys);
  const Result<void> deleted = store.del_many(keys, removed);
  std::size_t gone = 0;
  for (const auto& r : removed) gone += r.ok() && *r;
  s.step(deleted.ok() && gone == kKeys - 1, "del_many: %zu removed", gone);
  Token token = store.prefetch("picture");
  std::array<char, 16> out{};
  const Lookup<std::size_t> hit = store.get(token, std::span<char>(out));
  s.step(hit && std::string_view(out.data(), *hit) == "small",
         "prefetch a key, do something else, get what is in the cache by then");
}

void loading(Steps& s, const Store& store) {
  s.section("Loading what is missing");
  std::atomic<unsigned> loads{0};
  const auto load = [&](std::string_view key) {
    loads.fetch_add(1, std::memory_order_relaxed);
    Loaded loaded;
    loaded.status = Status::kOk;
    (void)loaded.value.assign(key);
    return loaded;
  };
  std::atomic<unsigned> right{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const Lookup<Value> v = store.get_or_load("expensive", load);
      right.fetch_add(v && v->view() == "expensive", std::memory_order_relaxed);
    });
  }
  for (std::thread& t : threads) t.join();
  s.step(right == 8 && loads == 1,
         "8 threads ask get_or_load for one key: %u got it, it was loaded %u time", right.load(),
         loads.load());
  const Lookup<Value> failed = store.get_or_load("broken", [](std::string_view) {
    Loaded l;
    l.status = Status::kUnavailable;
    return l;
  });
  s.step(failed.status() == Status::kUnavailable && store.get("broken").missing(),
         "a loader that fails: %s is handed on, nothing is stored", status_name(failed.status()));
}

void typed(Steps& s, const Store& store) {
  s.section("A typed face");
  struct Position {
    float x, y, z;
  };
  const Typed<std::uint64_t, Position> positions(store);
  const Result<std::uint64_t> set = positions.set(42, {1, 2, 3});
  const Lookup<Position> p = positions.get(42);
  s.step(set.ok() && p && p->z == 3, "Typed<uint64_t, Position>: 42 is at %g %g %g",
         static_cast<double>(p->x), static_cast<double>(p->y), static_cast<double>(p->z));
}

void memory(Steps& s, const Store& store) {
  s.section("What is inside");
  const Stats stats = store.stats();
  s.step(stats.entries > 0 && stats.memory_used_bytes <= stats.memory_bytes,
         "stats: %" PRIu64 " entries, %" PRIu64 " hits, %" PRIu64 " misses, %.1f of %.1f MB used",
         stats.entries, stats.hits, stats.misses,
         static_cast<double>(stats.memory_used_bytes) / 1e6,
         static_cast<double>(stats.memory_bytes) / 1e6);
  const Lookup<Inspection> at = store.inspect("picture");
  s.step(at.found() && at->value_bytes == 5,
         "inspect picture: version %" PRIu64
         ", %zu + %zu bytes in a block of %zu, shard %u, bucket %" PRIu64 ", slot %u",
         at->version, at->key_bytes, at->value_bytes, at->block_bytes, at->shard, at->bucket,
         at->slot);
  const Result<void> grown = store.resize(std::size_t{48} << 20);
  s.step(grown.ok() && store.stats().memory_bytes == std::size_t{48} << 20, "resize to 48 MiB");
  const Result<void> beyond = store.resize(std::size_t{1} << 40);
  s.step(beyond.status() == Status::kOutOfRange, "resize past what was reserved: %s",
         status_name(beyond.status()));
  std::uint64_t filled = 0;
  const std::string big(1 << 16, 'b');
  Result<std::uint64_t> full;
  do {
    full = store.set("fill:" + std::to_string(filled), big);
    filled += full.ok();
  } while (full.ok() && filled < 10'000);
  s.step(full.status() == Status::kOutOfMemory && store.get("picture").found(),
         "fill it up: after %" PRIu64 " values of 64 KiB %s; what is there stays", filled,
         status_name(full.status()));
  const Result<Owed> owed = store.tick(std::chrono::microseconds(1000));
  s.step(owed.ok(), "tick: a millisecond of owed work; %" PRIu64 " bytes wait for readers",
         owed->limbo_bytes);
  const Result<void> sound = store.verify();
  s.step(sound.ok(), "verify: every invariant holds");
}

}  // namespace

int run_demo() {
  Steps s;
  ManualClock clock;
  Options options;
  options.memory_bytes = std::size_t{32} << 20;
  options.eviction = false;  // one step fills it until it refuses
  options.memory_bytes_max = std::size_t{64} << 20;
  options.clock = &clock;
  options.maintenance = Maintenance::kTick;  // the same steps each time
  options.name = "demo";
  std::printf("A store with a budget of 32 MiB that may grow to 64\n");
  Result<Store> opened = Store::open(options);
  s.step(opened.ok(), "open: %s", status_name(opened.status()));
  if (!opened) return s.finish();
  Store store = *opened;
  reads_and_writes(s, store);
  conditions(s, store);
  changes(s, store);
  lifetimes(s, store, clock);
  bytes_without_copies(s, store);
  many_keys(s, store);
  loading(s, store);
  typed(s, store);
  memory(s, store);

  s.section("The end");
  const Lookup<HeldValue> last = store.hold("picture");
  store.close();
  const Lookup<Value> closed = store.get("picture");
  s.step(closed.status() == Status::kClosed, "close; every call answers %s from here on",
         status_name(closed.status()));
  s.step(last && last->view() == "small", "what was held outlives it");
  return s.finish();
}

}  // namespace tern::tools
