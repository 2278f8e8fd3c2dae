#include "tests/engine/parts/index_sequence.h"

#include <map>
#include <vector>

#include "engine/ordered_index.h"
#include "tests/engine/parts/bare_core.h"

namespace tern::test {

std::string run_index_operations(std::span<const std::uint8_t> bytes) {
  using Index = detail::OrderedIndex<BareCore::Sync>;
  static BareCore bare;
  auto& space = bare.space();
  auto& t = *bare.thread;
  Index index(space);
  std::map<std::string, std::uint64_t> model;  // keys and their hashes
  std::string difference;
  const auto differs = [&](const std::string& what) {
    if (difference.empty()) difference = what;
  };
  std::size_t at = 0;
  const auto byte = [&] { return at < bytes.size() ? bytes[at++] : std::uint8_t{0}; };
  // Three kinds: of few bytes that are prefixes of each other; with any byte; behind a long common beginning.
  const auto next_key = [&] {
    const std::uint8_t how = byte();
    std::string key;
    if ((how & 3) == 3) key.assign(300u + (how >> 2 & 3) * 255u, 'p');
    const unsigned size = how >> 4;
    for (unsigned i = 0; i != size; ++i) key += static_cast<char>((how & 3) == 0 ? byte() & 3 : byte());
    return key;
  };
  // Of the bound's first `common` bytes are those of all that it shows.
  const auto scan = [&](const std::string* bound, bool backward, bool included, std::size_t common = 0, unsigned ahead = 1) {
    const detail::Guard<BareCore::Sync> guard(space, t);
    const auto direction = backward ? Index::Cursor::kBackward : Index::Cursor::kForward;
    std::vector<std::string> wanted;
    for (const auto& [key, hash] : model) {
      if (common != 0 && !key.starts_with(bound->substr(0, common))) continue;
      if (bound == nullptr || (backward ? key < *bound : key > *bound) || (included && key == *bound)) wanted.push_back(key);
    }
    if (backward) wanted = {wanted.rbegin(), wanted.rend()};
    const auto compare = [&](typename Index::Cursor& c) {
      std::size_t n = 0;
      while (const auto* leaf = c.next()) {
        if (n == wanted.size() || wanted[n] != leaf->key()) return differs("a scan meets another key: " + std::string(leaf->key()) + " instead of " + (n == wanted.size() ? "none" : wanted[n]));
        if (leaf->hash != model[wanted[n]]) differs("a leaf has another hash");
        ++n;
      }
      if (n != wanted.size() || c.failed()) differs("a scan ends early");
    };
    // The same without a look at the leaves, but to see whether what the nodes say of them is so.
    const auto compare_met = [&](typename Index::Cursor& c) {
      std::size_t n = 0;
      std::string_view path;
      c.meet([&](std::string_view to) { return path = to, true; },
             [&](const Index::Leaf& leaf, std::uint64_t hint, int next) {
               if (leaf.seen().kind() == detail::LeafState::kRemoved) return true;
               const std::string_view key = leaf.key();
               if (n == wanted.size() || wanted[n] != key) return differs("a leaf is met out of order"), false;
               if (hint != 0 && hint != model[wanted[n]]) differs("a hint is another key's");
               ++n;
               if (path.data() == nullptr) return true;
               std::string beginning(path);
               if (next != Index::Cursor::kWhole) beginning += static_cast<char>(next);
               if (!key.starts_with(beginning)) differs("a leaf is met by another's bytes");
               if (next == Index::Cursor::kWhole) {
                 if (key != beginning) differs("a leaf is met by its first bytes alone");
                 return true;
               }
               const auto first = model.lower_bound(beginning);
               if (first->first != key || (std::next(first) != model.end() && std::next(first)->first.starts_with(beginning))) {
                 differs("what leads to a leaf is that of two keys");
               }
               return true;
             });
      if (n != wanted.size() || c.failed()) differs("leaves are met to an early end");
    };
    if (bound == nullptr) {
      typename Index::Cursor c(index, direction), m(index, direction);
      compare(c);
      compare_met(m);
    } else {
      typename Index::Cursor c(index, *bound, direction, included, common);
      c.look_ahead(ahead);
      compare(c);
      typename Index::Cursor m(index, *bound, direction, included, common);
      compare_met(m);
    }
  };
  // Each key that is there is led to, where there is more than a leaf.
  const auto follow = [&] {
    std::string_view keys[Index::kWaysMax];
    unsigned n = 0;
    for (auto i = model.begin(); i != model.end() && n != Index::kWaysMax; ++i) keys[n++] = i->first;
    if (n > 1 && index.prefetch_ways(keys, n) != n) differs("a way leads to no leaf");
  };
  while (at < bytes.size() && difference.empty()) {
    const std::uint8_t op = byte();
    const detail::Guard<BareCore::Sync> guard(space, t);
    if (!space.epoch.admit(space, t)) return "not admitted";
    switch (op & 7) {
      case 0:
      case 1:
      case 2: {
        const std::string key = next_key();
        const std::uint64_t hash = model.contains(key) ? model[key] : op;
        if (!index.ensure(t, key, hash)) differs("ensure is refused with memory at hand");
        model[key] = hash;
        break;
      }
      case 3: {  // a row of siblings, so that nodes become large
        const std::string begin = next_key();
        for (unsigned n = 0; n != 90; ++n) {
          const std::string key = begin + static_cast<char>(n * 3);
          const std::uint64_t hash = model.contains(key) ? model[key] : op;
          if (!index.ensure(t, key, hash)) differs("ensure is refused with memory at hand");
          model[key] = hash;
        }
        break;
      }
      case 4: {
        const std::string key = next_key();
        index.remove(t, key, [] { return false; });
        model.erase(key);
        break;
      }
      case 5: {  // a range
        const std::string from = next_key();
        auto i = model.lower_bound(from);
        for (unsigned n = 0; n != 1u + (op >> 2) && i != model.end(); ++n) {
          index.remove(t, i->first, [] { return false; });
          i = model.erase(i);
        }
        break;
      }
      case 6: {  // a removal that finds the key in the table again
        const std::string key = next_key();
        index.remove(t, key, [] { return true; });
        break;
      }
      case 7: {
        const std::string bound = next_key();
        const bool backward = (op & 8) != 0, included = (op & 16) != 0;
        follow();
        scan(&bound, backward, included);
        if ((op & 32) == 0) break;
        // Up to some byte of the bound, as often as not within a long beginning that many have.
        const std::size_t common = bound.empty() ? 0 : (byte() * 13u) % (bound.size() + 1);
        scan(&bound, backward, included, common, 1 + (op >> 6) * 21u);
        break;
      }
    }
  }
  scan(nullptr, false, false);
  scan(nullptr, true, false);
  // Emptied, it holds no memory.
  for (const auto& [key, hash] : model) {
    const detail::Guard<BareCore::Sync> guard(space, t);
    if (!space.epoch.admit(space, t)) return "not admitted";
    index.remove(t, key, [] { return false; });
  }
  if (index.walk([](std::uint64_t) {}) != 0) differs("an empty index holds memory");
  space.epoch.reclaim(space, t);
  return difference;
}

}  // namespace tern::test
