// Locks: what a lock is in a store, and the two writes that it consists of. Names, waiting and leases of its own: lock.cc.
//
//   lock     an entry (FF 8000 + its namespace, and its name: names.h), never evicted, a member of its owner's lease; its version
//            is the token; its value a byte, whether the lease is one that it got for itself, and what the owner says of himself
//   acquire  a set if it is absent, and it is absent once its lease is over: one swap of one slot
//   unlock   a removal on condition that the version is the token: never of a later owner's
//   fence    a batch on condition of the same (WriteBatch::require_fence): whoever acquires after it has settled it first
//
// Lock-free, each as a set and a removal are.
#ifndef TERN_ENGINE_LOCKS_H_
#define TERN_ENGINE_LOCKS_H_

#include <cstdint>
#include <string_view>

#include "engine/changes.h"
#include "engine/core.h"
#include "engine/leases.h"
#include "engine/tags.h"

namespace tern::detail {

template <class Sync>
class Locks {
 public:
  // Token 0: nobody has it.
  struct Holder {
    std::uint64_t token = 0;
    std::uint64_t lease = 0;
    bool has_own_lease = false;  // which ends with it
  };

  Locks(Core<Sync>& core, Thread<Sync>& t) noexcept : core_(core), thread_(t) {}

  // fn(std::string_view) gets what the owner has said of himself, if there is one.
  template <class Fn>
  Holder holder(std::string_view key, Fn&& fn) noexcept {
    const Guard<Sync> guard(core_.space, thread_);
    const Head<Sync> h = core_.head(core_.hash_of(key), key);
    if (!h.present) return {};
    const std::string_view value = h.bytes();  // empty only in a file that nobody here has written
    fn(value.substr(value.empty() ? 0 : 1));
    return {h.version, Leases<Sync>::of(core_.space, *h.record, h.stamp), !value.empty() && value[0] != 0};
  }
  Holder holder(std::string_view key) noexcept {
    return holder(key, [](std::string_view) {});
  }

  // Put: it is the caller's, as long as the lease lives, which is to be asked again; kept: somebody else has it. Of `owner` up to
  // kOwnerBytesMax bytes.
  static constexpr std::size_t kOwnerBytesMax = 255;
  Committed acquire(std::string_view key, std::string_view owner, std::uint64_t lease, bool is_own_lease) noexcept {
    if (planted<Sync>(Mutant::kLockSetBlindly) && holder(key).token != 0) return {Committed::Outcome::kKept, 0};
    char value[1 + kOwnerBytesMax];
    value[0] = is_own_lease ? 1 : 0;
    const std::size_t size = 1 + owner.copy(value + 1, kOwnerBytesMax);
    TagBlock block;
    (void)block.set({}, lease);
    SetTerms terms;
    terms.if_absent = !planted<Sync>(Mutant::kLockSetBlindly);
    terms.keep = true;
    terms.tags = block.block();
    SetChange<Sync> change(core_.space, thread_, key, {value, size}, terms);
    return core_.write(thread_, core_.hash_of(key), key, change);
  }

  enum class Unlocked : std::uint8_t { kDone, kLost, kOutOfMemory };
  Unlocked unlock(std::string_view key, std::uint64_t token) noexcept {
    RemoveChange<Sync> change(core_.space, thread_, key);
    if (!planted<Sync>(Mutant::kLockUnlockedBlindly)) change.only_if_version(token);
    const Committed done = core_.write(thread_, core_.hash_of(key), key, change, true);
    if (done.outcome == Committed::Outcome::kOutOfMemory) return Unlocked::kOutOfMemory;
    return done.outcome == Committed::Outcome::kRemoved && change.existed ? Unlocked::kDone : Unlocked::kLost;
  }

 private:
  Core<Sync>& core_;
  Thread<Sync>& thread_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_LOCKS_H_
