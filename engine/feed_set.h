// FeedSet: what a WatchSet has: a feed of all changes, and the filters that decide which of them it answers.
#ifndef TERN_ENGINE_FEED_SET_H_
#define TERN_ENGINE_FEED_SET_H_

#include <cstdint>
#include <string_view>

#include <tern/watch_set.h>

#include "engine/feed.h"
#include "engine/filter_set.h"

namespace tern::detail {

class FeedSet final : public KeyInterest {
 public:
  // `rules`: of a namespace; null: of the default one.
  static Result<FeedSet*> open(StoreCore& store, const WatchSetOptions& options, const NameRules* rules) noexcept;
  void close() noexcept;

  Result<std::uint32_t> add(KeyFilter::Kind kind, std::string_view text, char separator, bool fold_case) noexcept;
  bool wants(std::string_view key, std::uint64_t stamp) noexcept override {
    bool some = false;
    filters.find(key, stamp, [&](std::uint32_t) {
      some = true;
      return false;
    });
    return some;
  }

  bool is_touched(ChangeScope scope, std::string_view bytes, std::uint64_t stamp) noexcept override {
    return filters.find_touched(scope, bytes, stamp, [](std::uint32_t) { return false; });
  }

  FilterSet filters;
  Feed& feed() noexcept { return *feed_; }
  Context context() noexcept { return with_rules(&feed_->store(), rules_); }

 private:
  FeedSet(std::uint64_t seed, const NameRules* rules) noexcept : filters(seed), rules_(rules) {}
  ~FeedSet() = default;

  const NameRules* const rules_;
  Feed* feed_ = nullptr;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_FEED_SET_H_
