// The sequential meaning of a few keys together, for the linearizability checker: what batches, and reads of many keys
// at one moment, promise can't be judged key by key. Values are one character, 0: absent. Some are mortal: they go when time
// passes, or when a lease ends.
#ifndef TERN_TESTS_SYNC_MAP_SPEC_H_
#define TERN_TESTS_SYNC_MAP_SPEC_H_

#include <array>
#include <cstdint>
#include <string>

namespace tern::concurrency {

struct MapOp {
  static constexpr int kKeys = 4;
  struct Part {
    enum class Kind : std::uint8_t {
      kRead, kSet, kDel, kRequireAbsent, kRequirePresent, kRequireValue, kAdd,
      kDelDigit,    // if the key's value is one
      kSetMortal,   // ... or gone at once, if what it would go with is over
      kSetKept,     // it stays what it is
      kMakeMortal,  // if it is there; its value stays
      kMakeImmortal,
      kPass,        // mortal ones go from now on, unless kPutOff came before
      kPutOff,
      kEnd,         // they go, put off or not
    };
    Kind kind = Kind::kRead;
    std::uint8_t key = 0;
    char value = 0;  // read, written, required; of an addition the sum
  };

  std::array<Part, 8> parts = {};
  unsigned count = 0;
  // The answer. Of a batch: ok, or the part whose condition failed. With `asks`: whether what the first part names was there.
  bool ok = true;
  bool asks = false;
  unsigned failed = 0;
  bool refused = false;

  void add(Part::Kind kind, unsigned key, char value = 0) {
    parts[count++] = {kind, static_cast<std::uint8_t>(key), value};
  }
};

class MapSpec {
 public:
  using Op = MapOp;
  using State = std::array<char, MapOp::kKeys + 1>;  // the last: what becomes of mortal ones
  static constexpr char kMortal = '\x80';  // beside a value
  static constexpr char kOver = 1, kIsPutOff = 2;

  static State initial() { return {}; }
  static std::uint64_t hash(const State& s) {
    std::uint64_t h = 0;
    for (char c : s) h = (h << 8 | static_cast<unsigned char>(c)) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
  }

  static bool apply(State& s, const Op& op, bool pending) {
    using What = Op::Part::Kind;
    if (op.refused) return true;
    const State before = s;
    bool all = true;
    for (unsigned i = 0; i != op.count; ++i) {
      const Op::Part& p = op.parts[i];
      const char is = value_of(before[p.key]);
      bool holds = true;
      if (p.kind == What::kRead && !pending && is != p.value) return false;
      if (p.kind == What::kRequireAbsent) holds = is == 0;
      if (p.kind == What::kRequirePresent) holds = is != 0;
      if (p.kind == What::kRequireValue) holds = is == p.value;
      if (!pending && !op.ok && !op.asks && op.failed == i && holds) return false;
      all = all && holds;
    }
    if (!all) return pending || !op.ok;
    if (!pending && !op.ok && !op.asks) return false;
    char& fate = s[Op::kKeys];
    for (unsigned i = 0; i != op.count; ++i) {
      const Op::Part& p = op.parts[i];
      const char was = before[p.key];
      char& is = s[p.key];
      if (op.asks && i == 0 && !pending && op.ok != (p.kind == What::kPutOff ? fate != kOver : was != 0)) return false;
      switch (p.kind) {
        case What::kSet: is = p.value; break;
        case What::kDel: is = 0; break;
        case What::kDelDigit:
          if (value_of(is) >= '0' && value_of(is) <= '9') is = 0;
          break;
        case What::kAdd: {
          const char sum = static_cast<char>(was == 0 ? '1' : value_of(was) + 1);
          if (!pending && p.value != sum) return false;
          is = static_cast<char>(sum | (was & kMortal));
          break;
        }
        case What::kSetMortal: is = fate == kOver ? '\0' : mortal(p.value); break;
        case What::kSetKept: is = static_cast<char>(p.value | (was & kMortal)); break;
        case What::kMakeMortal:
          if (is != 0) is = fate == kOver ? '\0' : mortal(is);
          break;
        case What::kMakeImmortal: is = value_of(is); break;
        case What::kPutOff:
          if (fate != kOver) fate = kIsPutOff;
          break;
        case What::kPass:
          if (fate == kIsPutOff) break;
          [[fallthrough]];
        case What::kEnd:
          fate = kOver;
          for (int k = 0; k != Op::kKeys; ++k) s[k] = (s[k] & kMortal) != 0 ? '\0' : s[k];
          break;
        default: break;
      }
    }
    return true;
  }
  static char value_of(char of_state) { return static_cast<char>(of_state & ~kMortal); }
  static char mortal(char value) { return static_cast<char>(value | kMortal); }

  static std::string describe(const Op& op) {
    static constexpr const char* kNames[] = {"read", "set", "del", "absent?", "present?", "value?", "add", "del digit",
                                             "set mortal", "set, kept", "make mortal", "make immortal", "pass", "put off", "end"};
    std::string text;
    for (unsigned i = 0; i != op.count; ++i) {
      const Op::Part& p = op.parts[i];
      text += std::string(kNames[static_cast<int>(p.kind)]) + " " + std::to_string(p.key) + " " + (p.value == 0 ? '-' : p.value) + "; ";
    }
    return text + (op.refused ? "refused" : op.ok ? "ok" : "no, " + std::to_string(op.failed));
  }
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_SYNC_MAP_SPEC_H_
