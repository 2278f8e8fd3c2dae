// The sequential meaning of the single-key operations (API.md), for the linearizability checker.
//
// Versions: where a call reports one, it must be greater than every version that the key had
// before, deletions included. Calls that report none (version 0) still take some; then only a lower
// bound is known, until a read tells.
//
// Time: `now_ms` is the injected clock's reading for the call, so advance that clock only between
// calls, or give every key a history of its own for each reading. A record with deadline <= now is
// absent.
//
// Eviction: a miss is legal only if an eviction is in the history. Record the removal hook as a
// kEvict call that spans the call during which it was reported.
#ifndef TERN_TESTS_SYNC_REGISTER_SPEC_H_
#define TERN_TESTS_SYNC_REGISTER_SPEC_H_

#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace tern::concurrency {

struct RegisterOp {
  enum class Kind : std::uint8_t {
    kGet,                    // ok: found; value, version
    kExists,                 // ok: found
    kSet,                    // argument; version
    kSetNx,                  // argument; ok: was absent; version
    kDel,                    // ok: was present
    kGetAndSet,              // argument; ok: was present, value: the previous one; version
    kGetAndDel,              // ok: was present, value
    kCompareAndSwap,         // expected, argument; ok; version
    kCompareAndSwapVersion,  // expected_version, argument; ok; version
    kCompareAndDelete,       // expected; ok
    kIncrement,  // delta, initial; ok, number: the new value. Not ok: not a number, or overflow
    kAppend,     // argument; ok, number: the new size
    kExpire,     // deadline_ms (0: none, as persist does); ok: was present
    kEvict,      // ok: was present
  };

  Kind kind = Kind::kGet;
  std::uint32_t key = 0;
  std::string argument = {};
  std::string expected = {};
  std::uint64_t expected_version = 0;
  std::int64_t delta = 1;
  std::int64_t initial = 0;
  std::uint64_t now_ms = 0;
  std::uint64_t deadline_ms = 0;  // of what is written; 0: none
  // the answer
  bool refused = false;  // an error such as out_of_memory: nothing may have changed
  bool ok = true;
  std::string value = {};
  std::int64_t number = 0;
  std::uint64_t version = 0;  // 0: not reported
};

class RegisterSpec {
 public:
  using Op = RegisterOp;

  struct State {
    bool present = false;
    bool version_known = false;
    std::uint64_t version =
        0;  // the present record's or the last one's; a lower bound if not known
    std::uint64_t deadline_ms = 0;
    std::string value;

    bool operator==(const State&) const = default;
  };

  static State initial() { return {}; }

  static std::uint64_t hash(const State& s) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (char c : s.value) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    h = (h ^ s.version) * 0x9e3779b97f4a7c15u;
    h = (h ^ (s.deadline_ms << 2 | (s.present ? 2u : 0u) | (s.version_known ? 1u : 0u))) *
        0x9e3779b97f4a7c15u;
    return h ^ (h >> 31);
  }

  static bool apply(State& s, const Op& op, bool pending) {
    using Kind = Op::Kind;
    if (op.refused) return true;
    if (s.present && s.deadline_ms != 0 && op.now_ms >= s.deadline_ms) remove(s);
    switch (op.kind) {
      case Kind::kGet:
        if (pending) return true;
        if (!op.ok) return !s.present;
        return s.present && s.value == op.value && observe(s, op.version);
      case Kind::kExists:
        return pending || op.ok == s.present;
      case Kind::kSet:
        return write(s, op.argument, op.deadline_ms, reported(op, pending));
      case Kind::kSetNx:
        if (!pending && op.ok == s.present) return false;
        return s.present || write(s, op.argument, op.deadline_ms, reported(op, pending));
      case Kind::kGetAndSet:
        if (!pending && (op.ok != s.present || (op.ok && op.value != s.value))) return false;
        return write(s, op.argument, op.deadline_ms, reported(op, pending));
      case Kind::kDel:
      case Kind::kEvict:
        if (!pending && op.ok != s.present) return false;
        remove(s);
        return true;
      case Kind::kGetAndDel:
        if (!pending && (op.ok != s.present || (op.ok && op.value != s.value))) return false;
        remove(s);
        return true;
      case Kind::kCompareAndSwap: {
        const bool equal = s.present && s.value == op.expected;
        if (!pending && op.ok != equal) return false;
        return !equal || write(s, op.argument, s.deadline_ms, reported(op, pending));
      }
      case Kind::kCompareAndDelete: {
        const bool equal = s.present && s.value == op.expected;
        if (!pending && op.ok != equal) return false;
        if (equal) remove(s);
        return true;
      }
      case Kind::kCompareAndSwapVersion:
        return apply_version_swap(s, op, pending);
      case Kind::kIncrement: {
        const std::optional<std::int64_t> sum = incremented(s, op);
        if (!pending && (op.ok != sum.has_value() || (op.ok && op.number != *sum))) return false;
        return !sum ||
               write(s, std::to_string(*sum), s.present ? s.deadline_ms : 0, reported(op, pending));
      }
      case Kind::kAppend: {
        std::string whole = s.present ? s.value + op.argument : op.argument;
        if (!pending && (!op.ok || op.number != static_cast<std::int64_t>(whole.size())))
          return false;
        return write(s, std::move(whole), s.present ? s.deadline_ms : 0, reported(op, pending));
      }
      case Kind::kExpire:
        if (!pending && op.ok != s.present) return false;
        if (s.present) {
          s.deadline_ms = op.deadline_ms;
          s.version_known = false;  // whether a new lifetime takes a version is the engine's choice
        }
        return true;
    }
    return false;
  }

  static std::string describe(const Op& op) {
    static constexpr const char* kNames[] = {"get",
                                             "exists",
                                             "set",
                                             "set_nx",
                                             "del",
                                             "get_and_set",
                                             "get_and_del",
                                             "compare_and_swap",
                                             "compare_and_swap_version",
                                             "compare_and_delete",
                                             "increment",
                                             "append",
                                             "expire",
                                             "evict"};
    std::string text = kNames[static_cast<unsigned>(op.kind)];
    text += " key " + std::to_string(op.key);
    if (!op.expected.empty()) text += " expected '" + op.expected + "'";
    if (op.expected_version != 0)
      text += " expected version " + std::to_string(op.expected_version);
    if (!op.argument.empty()) text += " '" + op.argument + "'";
    if (op.kind == Op::Kind::kIncrement) text += " by " + std::to_string(op.delta);
    if (op.deadline_ms != 0) text += " until " + std::to_string(op.deadline_ms);
    text += op.refused ? " -> refused" : op.ok ? " -> ok" : " -> no";
    if (!op.value.empty()) text += " '" + op.value + "'";
    if (op.number != 0) text += " " + std::to_string(op.number);
    if (op.version != 0) text += " version " + std::to_string(op.version);
    return text;
  }

 private:
  static std::uint64_t reported(const Op& op, bool pending) { return pending ? 0 : op.version; }

  // A read that tells the version.
  static bool observe(State& s, std::uint64_t version) {
    if (version == 0) return true;
    if (s.version_known ? version != s.version : version < s.version) return false;
    s.version = version;
    s.version_known = true;
    return true;
  }

  static bool write(State& s, std::string value, std::uint64_t deadline_ms, std::uint64_t version) {
    if (version != 0 && version <= s.version) return false;
    s.version_known = version != 0;
    s.version = s.version_known ? version : s.version + 1;
    s.present = true;
    s.deadline_ms = deadline_ms;
    s.value = std::move(value);
    return true;
  }

  static void remove(State& s) {
    s.present = false;
    s.version_known = false;
    s.deadline_ms = 0;
    s.value.clear();
  }

  static bool apply_version_swap(State& s, const Op& op, bool pending) {
    const bool could = s.present && (s.version_known ? op.expected_version == s.version
                                                     : op.expected_version >= s.version);
    if (pending) {
      // With a version that isn't known it may have happened or not; that it did not is covered by
      // leaving the pending call out of the order.
      return !could || write(s, op.argument, s.deadline_ms, 0);
    }
    if (!op.ok) return !(s.present && s.version_known && op.expected_version == s.version);
    if (!could) return false;
    s.version = op.expected_version;
    return write(s, op.argument, s.deadline_ms, op.version);
  }

  // The new value, or nothing if the present one is no number or the sum overflows.
  static std::optional<std::int64_t> incremented(const State& s, const Op& op) {
    std::int64_t old = op.initial;
    if (s.present) {
      const char* end = s.value.data() + s.value.size();
      const auto [stopped, error] = std::from_chars(s.value.data(), end, old);
      if (error != std::errc{} || stopped != end) return {};
    }
    constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
    if (op.delta > 0 ? old > kMax - op.delta : old < kMin - op.delta) return {};
    return old + op.delta;
  }
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_REGISTER_SPEC_H_
