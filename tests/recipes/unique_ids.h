// Recipe: unique identifiers. One counter in the store gives them out a block at a time, so that most calls touch nothing
// shared; a block that is left over when a thread or the program ends is lost, never given again.
//
//   UniqueIds ids(store, "order");
//   const tern::Result<std::int64_t> id = ids.next();
//
// An UniqueIds belongs to one thread; any number of them share the counter. After a restart of a snapshot that was saved a
// while ago the counter would begin where the file stands, so each life begins by skipping ahead by kSkip, more than a life gives
// out between two saves, and by saving that: a life that dies before its first save has given out numbers, too.
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

  // Once, after the snapshot at `path` was opened and before anybody asks for the first id. Not ok: ask for none.
  static Result<void> begin_life(const Store& store, std::string_view name, std::string_view path) {
    const std::string key = "ids:" + std::string(name);
    if (const Result<bool> made = make(store, key); !made) return made.error();
    if (const Result<std::int64_t> skipped = store.increment(key, kSkip); !skipped) return skipped.error();
    if (const Result<SaveReport> saved = store.save(path); !saved) return saved.error();
    return {};
  }

  Result<std::int64_t> next() {
    if (next_ == end_) {
      if (const Result<bool> made = make(store_, key_); !made) return made.error();
      const Result<std::int64_t> end = store_.increment(key_, kBlock);
      if (!end) return end.error();
      end_ = *end;
      next_ = end_ - kBlock;
    }
    return ++next_;
  }

 private:
  // Not evicted, or numbers would come again: kept by every increment once it is so.
  static Result<bool> make(const Store& store, std::string_view key) {
    SetOptions how;
    how.evictable = false;
    return store.set_nx(key, "0", how);
  }

  Store store_;
  std::string key_;
  std::int64_t next_ = 0;
  std::int64_t end_ = 0;
};

}  // namespace tern::recipes

#endif  // TERN_TESTS_RECIPES_UNIQUE_IDS_H_
