#include "tests/engine/parts/wheel_sequence.h"

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "engine/audit.h"
#include "engine/wheel.h"
#include "tests/engine/parts/bare_core.h"

namespace tern::test {

namespace {

using Sync = BareCore::Sync;

struct Run {
  explicit Run(std::span<const std::uint8_t> bytes) : in(bytes) {}

  // What a ticket's key would say.
  struct Look {
    Run& run;
    std::uint64_t operator()(std::uint64_t ticket) const noexcept {
      const auto it = run.due.find(ticket);
      if (it == run.due.end()) return 0;  // void
      if (it->second > run.now) return it->second;
      run.due.erase(it);
      return 0;
    }
    void soon(std::uint64_t) const noexcept {}
    void sooner(std::uint64_t) const noexcept {}
    void lost(std::uint64_t ticket) const noexcept { run.due.erase(ticket); }
  };

  std::uint8_t byte() {
    if (at == in.size()) return 0;
    return in[at++];
  }
  // 2^k - 1, 2^k, 2^k + 1, or a few bits more: the boundaries of every level.
  std::uint64_t span() {
    const unsigned b = byte();
    const std::uint64_t power = std::uint64_t{1} << b % 43;
    switch (b / 43) {
      case 0:
        return power - 1;
      case 1:
        return power;
      case 2:
        return power + 1;
      default:
        return power + (std::uint64_t{byte()} << (b % 43) >> 8);
    }
  }
  void differs(const std::string& what) {
    if (difference.empty()) difference = what + " at " + std::to_string(now);
  }

  std::string go() {
    while (at != in.size() && difference.empty()) {
      const detail::Guard<Sync> guard(bare().space(), *bare().thread);
      const unsigned op = byte();
      switch (op & 7) {
        case 0:
        case 1:
        case 2: {
          if (now == kNowMax) break;  // nothing lives longer
          const std::uint64_t ticket = ++last;
          due[ticket] = std::min(now + std::max<std::uint64_t>(1, span()), kNowMax);
          if (!wheel.file(bare().space(), *bare().thread, ticket, due[ticket])) {
            if (taken.empty()) differs("a ticket is refused with memory at hand");
            due.erase(ticket);
          }
          break;
        }
        case 3:
        case 4:
          now = std::min(now + (op & 8 ? span() : op >> 4), kNowMax);
          break;
        case 5: {  // a deadline that is moved on, or away
          if (due.empty()) break;
          const auto it = due.lower_bound(byte() % (last + 1));
          if (it == due.end()) break;
          if ((op & 8) != 0)
            due.erase(it);
          else
            it->second = std::min(it->second + span(), kNowMax);
          break;
        }
        case 6:
          if (op & 8) {
            wheel.rotate(bare().space(), *bare().thread, Look{*this});
          } else {
            wheel.advance(bare().space(), *bare().thread, now, 1 + (op >> 4), Look{*this});
          }
          break;
        default:
          if (op < 240) {
            catch_up();
          } else if (taken.empty()) {
            for (std::size_t size = 4096; size >= 64; size /= 2) {
              while (const std::uint64_t block =
                         bare().space().heap.allocate(bare().thread->cache, size))
                taken.push_back(block);
            }
          } else {
            free_memory();
          }
          break;
      }
    }
    free_memory();
    finish();
    return difference;
  }

  // Nothing that was due is left, and nothing else is gone (Look takes away what is asked for too
  // early never).
  void catch_up() {
    while (wheel.advance(bare().space(), *bare().thread, now, 64, Look{*this}) != 0) {
    }
    if (wheel.is_due(now)) differs("something is due after all was looked at");
    for (const auto& [ticket, when] : due) {
      if (when <= now)
        differs("ticket " + std::to_string(ticket) + " was due at " + std::to_string(when));
    }
    if (wheel.entries() < due.size()) differs("there are fewer tickets than deadlines");
  }

  void finish() {
    {
      const detail::Guard<Sync> guard(bare().space(), *bare().thread);
      catch_up();
      now = kNowMax;
      catch_up();
    }
    if (!due.empty()) differs(std::to_string(due.size()) + " tickets never came up");
    if (wheel.entries() != 0) differs("tickets are left over");
    // The levels stay with the wheel; give them back, so that the audit can be asked for everything
    // else.
    std::uint64_t levels =
        wheel.walk(bare().space(), [&](std::uint64_t) { differs("a ticket is left over"); });
    if (levels % 512 != 0) differs("a position holds memory");
    bare().space().epoch.reclaim(bare().space(), *bare().thread);
    detail::Audit<Sync> audit(*bare().core, [&](const char* what) { differs(what); });
    kept_levels += levels;
    if (audit.allocated_bytes !=
        audit.table_bytes + audit.limbo_bytes + audit.cached_bytes + kept_levels) {
      differs("memory is in no place that is known");
    }
  }
  void free_memory() {
    for (const std::uint64_t block : taken) bare().space().heap.free(bare().thread->cache, block);
    taken.clear();
  }

  // One heap for some runs: their wheels' levels, up to 4 KiB each, are not given back.
  static BareCore& bare() {
    static std::unique_ptr<BareCore> one;
    if (one == nullptr || kept_levels > (std::size_t{1} << 20)) {
      one = std::make_unique<BareCore>();
      kept_levels = 0;
    }
    return *one;
  }
  static inline std::uint64_t kept_levels = 0;
  static constexpr std::uint64_t kNowMax = detail::Wheel<Sync>::kTimeMax;

  std::span<const std::uint8_t> in;
  std::size_t at = 0;
  detail::Wheel<Sync> wheel;
  std::map<std::uint64_t, std::uint64_t> due;
  std::vector<std::uint64_t> taken;
  std::uint64_t now = 0;
  std::uint64_t last = 0;
  std::string difference;
};

}  // namespace

std::string run_wheel_operations(std::span<const std::uint8_t> bytes) { return Run(bytes).go(); }

}  // namespace tern::test
