// The sequential meaning of a few keys together, for the linearizability checker: what batches, and reads of many keys
// at one moment, promise can't be judged key by key. Values are one character, 0: absent.
#ifndef TERN_TESTS_SYNC_MAP_SPEC_H_
#define TERN_TESTS_SYNC_MAP_SPEC_H_

#include <array>
#include <cstdint>
#include <string>

namespace tern::concurrency {

struct MapOp {
  static constexpr int kKeys = 4;
  struct Part {
    // kSetMember: a digit of 1 to 9, attached to the lease, or gone at once if that has ended. kEnd: it ends, and they go.
    enum class Kind : std::uint8_t { kRead, kSet, kDel, kRequireAbsent, kRequirePresent, kRequireValue, kAdd, kSetMember, kEnd, kDelDigit };
    Kind kind = Kind::kRead;  // kDelDigit: if the key's value is one
    std::uint8_t key = 0;
    char value = 0;  // read, written, required; of an addition the sum
  };

  std::array<Part, 8> parts = {};
  unsigned count = 0;
  // The answer. Of a batch: ok, or the part whose condition failed. Of a del: whether it was there.
  bool ok = true;
  bool is_del = false;
  unsigned failed = 0;
  bool refused = false;

  void add(Part::Kind kind, unsigned key, char value = 0) {
    parts[count++] = {kind, static_cast<std::uint8_t>(key), value};
  }
};

class MapSpec {
 public:
  using Op = MapOp;
  using State = std::array<char, MapOp::kKeys + 1>;  // the last: whether the lease has ended

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
      const char is = before[p.key];
      bool holds = true;
      if (p.kind == What::kRead && !pending && is != p.value) return false;
      if (p.kind == What::kRequireAbsent) holds = is == 0;
      if (p.kind == What::kRequirePresent) holds = is != 0;
      if (p.kind == What::kRequireValue) holds = is == p.value;
      if (!pending && !op.ok && !op.is_del && op.failed == i && holds) return false;
      all = all && holds;
    }
    if (!all) return pending || !op.ok;
    if (!pending && !op.ok && !op.is_del) return false;
    for (unsigned i = 0; i != op.count; ++i) {
      const Op::Part& p = op.parts[i];
      if (op.is_del && !pending && op.ok != (before[p.key] != 0)) return false;
      if (p.kind == What::kSet) s[p.key] = p.value;
      if (p.kind == What::kDel) s[p.key] = 0;
      if (p.kind == What::kSetMember) s[p.key] = s[Op::kKeys] == 0 ? p.value : '\0';
      if (p.kind == What::kEnd) {
        s[Op::kKeys] = 1;
        for (int k = 0; k != Op::kKeys; ++k) s[k] = s[k] >= '1' && s[k] <= '9' ? '\0' : s[k];
      }
      if (p.kind == What::kDelDigit && s[p.key] >= '0' && s[p.key] <= '9') s[p.key] = 0;
      if (p.kind == What::kAdd) {
        const char sum = static_cast<char>(before[p.key] == 0 ? '1' : before[p.key] + 1);
        if (!pending && p.value != sum) return false;
        s[p.key] = sum;
      }
    }
    return true;
  }

  static std::string describe(const Op& op) {
    static constexpr const char* kNames[] = {"read", "set", "del", "absent?", "present?", "value?", "add", "set member", "end", "del digit"};
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
