// Removals: what was removed, on its way to the user's on_removed.
//
// The thread whose swap removed a record takes a hold on it inside the same guard and notes it here; when its call has
// left the guard, the callback gets key and value from the record, and the hold goes. One swap removes a record, so each
// is handed out exactly once; a callback runs outside of every guard that the store opened, and may call the store.
// What it removes itself is handed out by the outer call, one after the other: no recursion. The list is short: a call
// removes its own key and makes room for a bounded number of others. Were it full, or a record held as often as it can
// be, the callback would run at once, inside the guard. Of namespaces' entries, and of leases' and locks' own, nobody is told.
#ifndef TERN_ENGINE_REMOVALS_H_
#define TERN_ENGINE_REMOVALS_H_

#include <cstdint>
#include <string_view>

#include <tern/options.h>

#include "engine/lease_key.h"
#include "engine/names.h"

namespace tern::detail {

inline constexpr unsigned kRemovalsNoted = 64;

struct RemovalHook {
  RemovedFn call = nullptr;
  void* user = nullptr;
};

// A thread's own.
struct NotedRemovals {
  struct Noted {
    std::uint64_t record;
    RemovalCause cause;
  };
  unsigned count;
  bool handing_out;
  Noted list[kRemovalsNoted];
};

// Space gives: removal_hook, record(), stamp_word, key_of, value_of, try_hold, drop_hold.
template <class Space, class Thr>
class Removals {
 public:
  Removals(Space& space, Thr& t) noexcept : space_(space), thread_(t) {}

  // Inside the guard in which `record` was removed.
  void note(std::uint64_t record, RemovalCause cause) noexcept {
    NotedRemovals& noted = thread_.removals;
    if (noted.count == kRemovalsNoted || !space_.try_hold(*space_.record(record))) return tell(record, cause);
    noted.list[noted.count++] = {record, cause};
  }

  // Outside of it.
  void hand_out() noexcept {
    NotedRemovals& noted = thread_.removals;
    if (noted.handing_out) return;
    noted.handing_out = true;
    while (noted.count != 0) {
      const NotedRemovals::Noted next = noted.list[--noted.count];
      tell(next.record, next.cause);
      space_.drop_hold(thread_, next.record);
    }
    noted.handing_out = false;
  }

 private:
  void tell(std::uint64_t record, RemovalCause cause) noexcept {
    if (space_.removal_hook.call == nullptr) return;  // the last handle went in the callback before this one
    const auto& r = *space_.record(record);
    const auto s = r.stamp_word();
    const auto key = space_.key_of(r, s);
    if (name_of({key.data, key.size}) != kDefaultName) return;
    const std::string_view own = own_key({key.data, key.size});
    const auto value = space_.value_of(r, s, key.size);
    space_.removal_hook.call(space_.removal_hook.user, own, {value.data, value.size}, cause);
  }

  Space& space_;
  Thr& thread_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_REMOVALS_H_
