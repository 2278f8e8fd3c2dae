// Recipe: a registry of services. Each instance is an entry "service:NAME:INSTANCE" with its address, attached to a lease that
// the instance keeps alive: one that dies or hangs is gone at its lease's instant, with all that it has registered.
//
//   ServiceRegistry registry(store);
//   auto self = registry.register_instance("match", "node-7", "10.0.0.7:4000", 10s);
//   ... every 3 s: if (!self->refresh()) self = registry.register_instance(...);  // it had hung for too long
//   registry.lookup("match", "node-7");  registry.list("match");  registry.list_all();
//   self->withdraw();
#ifndef TERN_TESTS_RECIPES_SERVICE_REGISTRY_H_
#define TERN_TESTS_RECIPES_SERVICE_REGISTRY_H_

#include <tern/store.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tern::recipes {

class ServiceRegistry {
 public:
  class Registration {
   public:
    Registration() = default;
    explicit Registration(Lease lease) : lease_(std::move(lease)) {}
    // False: it has ended; register again.
    bool refresh() const { return lease_.keep_alive().ok(); }
    void withdraw() const { (void)lease_.revoke(); }
    const Lease& lease() const { return lease_; }

   private:
    Lease lease_;
  };

  explicit ServiceRegistry(Store store) : store_(std::move(store)) {}

  // exists: another instance has the name, and lives.
  Result<Registration> register_instance(std::string_view service, std::string_view instance, std::string_view address,
                                         std::chrono::milliseconds ttl) const {
    Result<Lease> lease = store_.lease(ttl);
    if (!lease) return lease.error();
    SetOptions how;
    how.lease = lease->id();
    how.if_absent = true;
    how.evictable = false;
    if (const auto set = store_.set(key(service, instance), address, how); !set) {
      (void)lease->revoke();
      return set.error();
    }
    return Registration(*lease);
  }

  std::optional<std::string> lookup(std::string_view service, std::string_view instance) const {
    const Lookup<Value> address = store_.get(key(service, instance));
    if (!address) return std::nullopt;
    return std::string(address->view());
  }

  // Of one moment: instances and addresses. A seek in a store with Options::ordered.
  std::vector<std::pair<std::string, std::string>> list(std::string_view service) const { return list_below(key(service, "")); }
  // Of all services: "SERVICE:INSTANCE".
  std::vector<std::pair<std::string, std::string>> list_all() const { return list_below("service:"); }

 private:
  std::vector<std::pair<std::string, std::string>> list_below(const std::string& prefix) const {
    std::vector<std::pair<std::string, std::string>> all;
    (void)store_.iterate(prefix, [&](std::string_view k, std::string_view address) {
      all.emplace_back(k.substr(prefix.size()), address);
      return true;
    });
    return all;
  }
  static std::string key(std::string_view service, std::string_view instance) {
    return "service:" + std::string(service) + ":" + std::string(instance);
  }
  Store store_;
};

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_SERVICE_REGISTRY_H_
