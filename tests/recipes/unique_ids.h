// Recipe: unique identifiers. One counter in the store gives them out a block at a time, so that most calls touch nothing
// shared; a block that is left over when a thread or the program ends is lost, never given again.
//
//   UniqueIds ids(store, "order");
//   const tern::Result<std::int64_t> id = ids.next();
//
// An UniqueIds belongs to one thread; any number of them share the counter. After a restart of a snapshot that was saved a
// while ago the counter would begin where the file stands, so the first block of a life skips ahead by kSkip: more than a life
// gives out between two saves.
#ifndef TERN_TESTS_RECIPES_UNIQUE_IDS_H_
#define TERN_TESTS_RECIPES_UNIQUE_IDS_H_

#include <tern/store.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace tern::recipes {

class UniqueIds {
 public:
  static constexpr std::int64_t kBlock = 1'000;
  static constexpr std::int64_t kSkip = 1'000'000'000;

  UniqueIds(Store store, std::string_view name) : store_(std::move(store)), key_("ids:" + std::string(name)) {}

  // Once, after a snapshot was opened and before anybody asks for the first id.
  static Result<std::int64_t> begin_life(const Store& store, std::string_view name) {
    return store.increment("ids:" + std::string(name), kSkip);
  }

  Result<std::int64_t> next() {
    if (next_ == end_) {
      // Not evicted, or numbers would come again: kept by every increment once it is so.
      const Result<bool> made = store_.set_nx(key_, "0", SetOptions{.evictable = false});
      if (!made) return made.error();
      const Result<std::int64_t> end = store_.increment(key_, kBlock);
      if (!end) return end.error();
      end_ = *end;
      next_ = end_ - kBlock;
    }
    return ++next_;
  }

 private:
  Store store_;
  std::string key_;
  std::int64_t next_ = 0;
  std::int64_t end_ = 0;
};

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_UNIQUE_IDS_H_
