// What the tests of the public interface share: a clock that moves when told, a small store that is
// verified after each test, and short ways to say what a key holds.
#ifndef TERN_TESTS_ENGINE_API_STORE_FIXTURE_H_
#define TERN_TESTS_ENGINE_API_STORE_FIXTURE_H_

#include <gtest/gtest.h>
#include <tern/store.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tern {

// For gtest's messages.
inline void PrintTo(Status status, std::ostream* out) { *out << status_name(status); }
inline void PrintTo(Field field, std::ostream* out) { *out << field_name(field); }
inline void PrintTo(const Error& error, std::ostream* out) {
  *out << status_name(error.status) << " (" << field_name(error.field) << ")";
}

}  // namespace tern

namespace tern::test {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

inline constexpr std::size_t kMiB = std::size_t{1} << 20;

class ManualClock final : public Clock {
 public:
  milliseconds now() const noexcept override { return milliseconds(now_.load()); }
  void advance(milliseconds by) noexcept { now_.fetch_add(by.count()); }

 private:
  std::atomic<std::int64_t> now_{1'000'000};
};

// Longer versions of the same tests: the environment of the tests labelled `slow`.
inline bool long_run() {
  const char* scale = std::getenv("TERN_TEST_LONG");
  return scale != nullptr && *scale != '\0';
}
template <class T>
T quick_or_long(T quick, T slow) {
  return long_run() ? slow : quick;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

// The same operations on every run, hence no thread but the test's; no clock unless one is given.
inline Options small_options(const Clock* clock = nullptr) {
  Options options;
  options.memory_bytes = 16 * kMiB;
  options.hash_seed = 42;
  options.maintenance = Maintenance::kTick;
  options.clock = clock;
  return options;
}

inline Store open_or_fail(const Options& options) {
  Result<Store> store = Store::open(options);
  EXPECT_TRUE(store.ok()) << testing::PrintToString(store.error());
  return std::move(*store);
}

// What verify() finds.
inline testing::AssertionResult whole(const Store& store) {
  std::string findings;
  const LogHook collect = [](void* user, const char* message) {
    *static_cast<std::string*>(user) += std::string("\n  ") + message;
  };
  const Result<void> r = store.verify(collect, &findings);
  if (r) return testing::AssertionSuccess();
  return testing::AssertionFailure() << status_name(r.status()) << findings;
}

// The value, nothing for a miss; a failure is reported.
template <class Handle>
std::optional<std::string> value_of(const Handle& handle, std::string_view key) {
  const Lookup<Value> r = handle.get(key);
  if (r) return std::string(r->view());
  EXPECT_TRUE(r.missing()) << testing::PrintToString(r.error());
  return std::nullopt;
}

// Bytes that differ from each other and with the seed.
inline std::string pattern(std::size_t size, unsigned seed = 0) {
  std::string bytes(size, '\0');
  std::uint32_t state = seed * 2'654'435'761u + 12'345u;
  char* const to = bytes.data();  // not an iterator: where nothing is optimised, this is most of what some tests do
  for (std::size_t n = 0; n != size; ++n) {
    state = state * 1'664'525u + 1'013'904'223u;
    to[n] = static_cast<char>(state >> 24);
  }
  return bytes;
}

inline std::string numbered(std::string_view prefix, std::uint64_t n) {
  return std::string(prefix) + std::to_string(n);
}

// Each operation that takes a key, called once with this one; what it answered.
using Answers = std::vector<std::pair<const char*, Error>>;

template <class Handle>
Answers every_keyed_call(const Handle& h, std::string_view key) {
  char buffer[8];
  const std::span<char> out(buffer);
  const auto load = [](std::string_view) { return Loaded{Status::kOk, Value("loaded"), {}}; };
  const auto keep = [](std::optional<std::string_view>) { return Update::keep(); };
  const auto look = [](std::string_view) {};
  return {
      {"get", h.get(key).error()},
      {"get span", h.get(key, out).error()},
      {"get token", h.get(h.prefetch(key), out).error()},
      {"get_entry", h.get_entry(key).error()},
      {"get_metadata", h.get_metadata(key).error()},
      {"visit", h.visit(key, look).error()},
      {"hold", h.hold(key).error()},
      {"exists", h.exists(key).error()},
      {"ttl", h.ttl(key).error()},
      {"get_or_load", h.get_or_load(key, load).error()},
      {"set", h.set(key, "v").error()},
      {"set with options", h.set(key, "v", SetOptions{.ttl = 1s}).error()},
      {"set_nx", h.set_nx(key, "v").error()},
      {"del", h.del(key).error()},
      {"get_and_del", h.get_and_del(key).error()},
      {"get_and_set", h.get_and_set(key, "v").error()},
      {"compare_and_swap", h.compare_and_swap(key, "v", "w").error()},
      {"compare_and_swap_version", h.compare_and_swap_version(key, 1, "w").error()},
      {"compare_and_delete", h.compare_and_delete(key, "w").error()},
      {"increment", h.increment(key).error()},
      {"increment_float", h.increment_float(key, 0.5).error()},
      {"append", h.append(key, "x").error()},
      {"update", h.update(key, keep).error()},
      {"set_metadata", h.set_metadata(key, "m").error()},
      {"expire", h.expire(key, 1s).error()},
      {"expire_at", h.expire_at(key, milliseconds(1'000'000'000)).error()},
      {"persist", h.persist(key).error()},
      {"allocate", h.allocate(key, 4).error()},
  };
}

// Each operation of many keys, with one key; the answer of the call.
template <class Handle>
Answers every_many_call(const Handle& h) {
  const std::string_view keys[] = {"many"};
  const Item items[] = {{"many", "v", {}}};
  char buffer[8];
  Values values;
  Lookup<std::size_t> sizes[1];
  Result<std::uint64_t> versions[1];
  Result<bool> removed[1];
  const auto look = [](std::size_t, Lookup<std::string_view>) {};
  return {
      {"get_many", h.get_many(keys, values).error()},
      {"get_many_at_one_moment", h.get_many_at_one_moment(keys, values).error()},
      {"get_many strided", h.get_many(keys, buffer, sizeof(buffer), sizes).error()},
      {"visit_many", h.visit_many(keys, look).error()},
      {"set_many", h.set_many(items, versions).error()},
      {"del_many", h.del_many(keys, removed).error()},
  };
}

// A small store with a clock that stands still, verified at the end of each test.
class StoreTest : public testing::Test {
 protected:
  StoreTest() : store(open_or_fail(small_options(&clock))) {}
  void TearDown() override {
    if (store.is_open()) {
      EXPECT_TRUE(whole(store));
    }
  }

  ManualClock clock;
  Store store;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_STORE_FIXTURE_H_
