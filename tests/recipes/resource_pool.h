// Recipe: numbered resources (ports, slots of a match, shards of work) that one owner has at a time. Each that is taken is an
// entry "pool:NAME:NUMBER", set if it is absent and attached to the owner's lease: of an owner that dies or hangs everything
// is free again at its lease's instant.
//
//   ResourcePool ports(store, "port", 100);
//   const tern::Result<unsigned> mine = ports.claim(lease);   // 0 to 99
//   ports.give_back(lease, *mine);
#ifndef TERN_TESTS_RECIPES_RESOURCE_POOL_H_
#define TERN_TESTS_RECIPES_RESOURCE_POOL_H_

#include <tern/hash.h>
#include <tern/store.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tern::recipes {

class ResourcePool {
 public:
  ResourcePool(Store store, std::string_view name, unsigned count) : store_(std::move(store)), prefix_("pool:" + std::string(name) + ":"), count_(count) {}

  // One that nobody has. unavailable: all are taken; not_found (lease): the owner's has ended. Owners begin at different
  // places, so that they seldom try the same one.
  Result<unsigned> claim(const Lease& owner) const {
    const std::string id = std::to_string(owner.id());
    SetOptions how;
    how.if_absent = true;
    how.evictable = false;
    how.lease = owner.id();
    const auto from = static_cast<unsigned>(hash_key(id, 0) % count_);
    for (unsigned i = 0; i != count_; ++i) {
      const unsigned number = (from + i) % count_;
      const Result<std::uint64_t> set = store_.set(key(number), id, how);
      if (set) return number;
      if (set.status() != Status::kExists) return set.error();
    }
    return Status::kUnavailable;
  }
  // False: it isn't the owner's, or isn't any more.
  bool give_back(const Lease& owner, unsigned number) const {
    const Result<bool> gone = store_.compare_and_delete(key(number), std::to_string(owner.id()));
    return gone && *gone;
  }
  // Whose it is.
  std::optional<LeaseId> owner_of(unsigned number) const {
    const Lookup<Value> id = store_.get(key(number));
    if (!id) return std::nullopt;
    return std::stoull(std::string(id->view()));
  }

 private:
  std::string key(unsigned number) const { return prefix_ + std::to_string(number); }

  Store store_;
  std::string prefix_;
  unsigned count_;
};

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_RESOURCE_POOL_H_
