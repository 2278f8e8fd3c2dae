// std::unordered_map<std::string, std::string> behind one mutex: the least that anybody has.
#include <mutex>
#include <string>
#include <unordered_map>

#include "bench/peers/hash.h"
#include "bench/slice.h"

namespace tern::bench {
namespace {

class UnorderedAdapter {
 public:
  using Map = std::unordered_map<std::string, std::string, StringHash, std::equal_to<>>;

  explicit UnorderedAdapter(const StoreConfig& config) { map_.reserve(config.entries); }

  class Worker {
   public:
    explicit Worker(UnorderedAdapter& a) : a_(a) {}
    bool get(std::string_view key, char* out) {
      const std::lock_guard lock(a_.mutex_);
      const auto at = a_.map_.find(key);
      if (at == a_.map_.end()) return false;
      std::memcpy(out, at->second.data(), at->second.size());
      return true;
    }
    bool set(std::string_view key, std::string_view value) {
      const std::lock_guard lock(a_.mutex_);
      const auto at = a_.map_.find(key);
      if (at != a_.map_.end()) {
        at->second.assign(value);
      } else {
        a_.map_.emplace(key, value);
      }
      return true;
    }
    bool del(std::string_view key) {
      const std::lock_guard lock(a_.mutex_);
      const auto at = a_.map_.find(key);
      if (at == a_.map_.end()) return false;
      a_.map_.erase(at);
      return true;
    }

   private:
    UnorderedAdapter& a_;
  };

  std::uint64_t bytes_used() const { return 0; }

 private:
  Map map_;
  alignas(128) std::mutex mutex_;
};

}  // namespace

StoreKind unordered_store() {
  return {.name = "unordered",
          .what = "std::unordered_map<string, string> with a mutex",
          .make = &make_runner<UnorderedAdapter>};
}

}  // namespace tern::bench
