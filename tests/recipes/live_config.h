// Recipe: settings that are reloaded when they change. A watch with initial contents gives what is there, then each change,
// with nothing between lost; poll() goes where the program's loop has time for it, and never blocks.
//
//   auto config = LiveConfig::open(store, "config:server:");
//   ... each frame: if (config->poll()) apply(*config);
//   config->get("tick_rate", "30");
//
// Lost changes (a gap) can't be told apart from changes of these keys, so the watch begins anew.
#ifndef TERN_TESTS_RECIPES_LIVE_CONFIG_H_
#define TERN_TESTS_RECIPES_LIVE_CONFIG_H_

#include <tern/store.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace tern::recipes {

class LiveConfig {
 public:
  static Result<LiveConfig> open(Store store, std::string_view prefix) {
    LiveConfig config(std::move(store), prefix);
    if (const Error e = config.begin(); e.status != Status::kOk) return e;
    return Result<LiveConfig>(std::move(config));
  }
  LiveConfig() = default;

  // Whether something has changed since the last call.
  bool poll() {
    bool changed = false;
    for (;;) {
      Change changes[64];
      const Result<std::size_t> n = watch_.poll(changes);
      if (n.status() == Status::kViewExpired) {
        (void)begin();
        continue;
      }
      if (!n || *n == 0) return changed;
      for (const Change& c : std::span(changes).first(*n)) {
        if (c.kind == ChangeKind::kGap) {
          (void)begin();
          break;
        }
        changed = take(c) || changed;
      }
    }
  }

  std::string_view get(std::string_view name, std::string_view otherwise = {}) const {
    const auto at = values_.find(name);
    return at != values_.end() ? std::string_view(at->second) : otherwise;
  }
  std::size_t size() const { return values_.size(); }

 private:
  LiveConfig(Store store, std::string_view prefix) : store_(std::move(store)), prefix_(prefix) {}

  Error begin() {
    WatchOptions how;
    how.initial = true;
    Result<Watch> watch = store_.watch_prefix(prefix_, how);
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    fresh_.clear();
    is_listing_ = true;
    return {};
  }
  // What is there comes into a map of its own: until it is complete, the old settings hold.
  bool take(const Change& c) {
    if (c.kind == ChangeKind::kSynced) {
      is_listing_ = false;
      return std::exchange(values_, std::exchange(fresh_, {})) != values_;
    }
    if (!c.key.starts_with(prefix_)) return false;
    auto& to = is_listing_ ? fresh_ : values_;
    const std::string name(c.key.substr(prefix_.size()));
    if (c.kind == ChangeKind::kPut) {
      std::string& value = to[name];
      return std::exchange(value, std::string(c.value)) != value && !is_listing_;
    }
    return to.erase(name) != 0 && !is_listing_;
  }

  Store store_;
  std::string prefix_;
  Watch watch_;
  std::map<std::string, std::string, std::less<>> values_, fresh_;
  bool is_listing_ = false;
};

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_LIVE_CONFIG_H_
