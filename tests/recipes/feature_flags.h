// Recipe: feature flags. A flag is an entry "flag:NAME" that says "on", "off" or a share of users in per cent ("25"). One
// thread follows the changes; any number ask, by one relaxed load and a few instructions.
//
//   FeatureFlags flags(store, {"new_lobby", "fast_path"});
//   ... somewhere, now and then: flags.poll();
//   ... in the hot loop:         if (flags.is_on(kNewLobby, user)) ...
//
// A user is in the share of a flag or isn't, whoever asks and in whatever process: it goes by the hash of both.
#ifndef TERN_TESTS_RECIPES_FEATURE_FLAGS_H_
#define TERN_TESTS_RECIPES_FEATURE_FLAGS_H_

#include <tern/hash.h>
#include <tern/store.h>

#include <atomic>
#include <charconv>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/recipes/live_config.h"

namespace tern::recipes {

class FeatureFlags {
 public:
  // A flag that isn't there is off. The order of the names is that of the numbers for is_on.
  static Result<std::unique_ptr<FeatureFlags>> open(Store store, std::vector<std::string> names) {
    Result<LiveConfig> config = LiveConfig::open(std::move(store), "flag:");
    if (!config) return config.error();
    std::unique_ptr<FeatureFlags> flags(new FeatureFlags(std::move(*config), std::move(names)));
    flags->poll();
    return Result<std::unique_ptr<FeatureFlags>>(std::move(flags));
  }

  // By one thread at a time.
  void poll() {
    if (!config_.poll()) return;
    for (std::size_t i = 0; i != names_.size(); ++i) percent_[i].store(percent_of(config_.get(names_[i])), std::memory_order_relaxed);
  }

  bool is_on(std::size_t flag, std::string_view user) const {
    const unsigned percent = percent_[flag].load(std::memory_order_relaxed);
    return percent >= 100 || (percent != 0 && hash_key(user, flag_seed(flag)) % 100 < percent);
  }

 private:
  FeatureFlags(LiveConfig&& config, std::vector<std::string>&& names)
      : config_(std::move(config)), names_(std::move(names)), percent_(std::make_unique<std::atomic<unsigned>[]>(names_.size())) {}

  std::uint64_t flag_seed(std::size_t flag) const { return hash_key(names_[flag], 0); }
  static unsigned percent_of(std::string_view text) {
    if (text == "on") return 100;
    unsigned percent = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), percent);
    return end.ec == std::errc() && end.ptr == text.data() + text.size() && percent <= 100 ? percent : 0;
  }

  LiveConfig config_;
  std::vector<std::string> names_;
  std::unique_ptr<std::atomic<unsigned>[]> percent_;
};

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_FEATURE_FLAGS_H_
