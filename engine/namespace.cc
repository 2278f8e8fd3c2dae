// Namespaces as their users have them: how one is found or made, and what it says of itself.
//
// The directory lies in the table (names.h), where two entries make a namespace: number -> name, then name -> number and
// rules. Each enters as an absent key does, so of two threads that make the same namespace one is first, and the other takes what
// it finds. A number whose name leads elsewhere, as one of two that were made at once leaves it, is given back.
#include <tern/namespace.h>

#include <cstring>

#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern {

using detail::Call;
using detail::Context;
using detail::NameMark;
using detail::NameRules;

namespace {

using NamesNow = detail::Names<detail::StdSync>;

// Of a name in the directory: 0 version | 1 separator | 2 flags | 3 share | 4..5 number
constexpr std::size_t kRulesBytes = 6;
constexpr char kRulesVersion = 1;
constexpr unsigned kFoldsCase = 1, kChecksPaths = 2, kNormalisesPaths = 4;

struct RulesBytes {
  char bytes[kRulesBytes];
  explicit RulesBytes(const NameRules& r) noexcept
      : bytes{kRulesVersion, r.separator,
              static_cast<char>((r.fold_case ? kFoldsCase : 0) | (r.check_paths ? kChecksPaths : 0) |
                                (r.normalise_paths ? kNormalisesPaths : 0)),
              static_cast<char>(r.share_percent), static_cast<char>(r.number >> 8), static_cast<char>(r.number & 0xFF)} {}
  std::string_view view() const noexcept { return {bytes, kRulesBytes}; }
};

// False: no such bytes were written here.
bool read_rules(std::string_view bytes, std::string_view name, NameRules& out) noexcept {
  if (bytes.size() != kRulesBytes || bytes[0] != kRulesVersion || name.size() > NameRules::kNameBytesMax) return false;
  const auto flags = static_cast<unsigned char>(bytes[2]);
  out.separator = bytes[1];
  out.fold_case = (flags & kFoldsCase) != 0;
  out.check_paths = (flags & kChecksPaths) != 0;
  out.normalise_paths = (flags & kNormalisesPaths) != 0;
  out.share_percent = static_cast<unsigned char>(bytes[3]);
  out.number = static_cast<unsigned>(static_cast<unsigned char>(bytes[4])) << 8 | static_cast<unsigned char>(bytes[5]);
  out.name_size = static_cast<std::uint8_t>(name.size());
  std::memcpy(out.name, name.data(), name.size());
  return out.number != 0 && out.number <= detail::kNamesMax && out.share_percent <= 100;
}

// Keys of the directory, and calls with them.
class Directory {
 public:
  explicit Directory(const Context& c) noexcept : context_(detail::with_stored_key(c)) {}

  Lookup<Value> find(std::string_view name) const noexcept { return detail::get(context_, Key(detail::kDirectoryName, name)); }
  Lookup<Value> name_of(unsigned number) const noexcept { return detail::get(context_, Key(number)); }
  // exists: somebody was first.
  Result<void> add(std::string_view name, const NameRules& rules) const noexcept {
    return add(Key(detail::kDirectoryName, name), RulesBytes(rules).view());
  }
  Result<void> take(unsigned number, std::string_view name) const noexcept { return add(Key(number), name); }
  void give_back(unsigned number, std::string_view name) const noexcept {
    (void)detail::compare_and_delete(context_, Key(number), name);
  }

 private:
  struct Key {
    char bytes[detail::kNameBytes + NameRules::kNameBytesMax];
    std::size_t size = detail::kNameBytes;
    Key(unsigned of, std::string_view key) noexcept : size(detail::kNameBytes + key.size()) {
      std::memcpy(bytes, NameMark(of).bytes, detail::kNameBytes);
      std::memcpy(bytes + detail::kNameBytes, key.data(), key.size());
    }
    explicit Key(unsigned number) noexcept : Key(detail::kNumbersName, std::string_view(NameMark(number).bytes + 1, 2)) {}
    operator std::string_view() const noexcept { return {bytes, size}; }
  };
  Result<void> add(const Key& key, std::string_view value) const noexcept {
    SetOptions options;
    options.if_absent = true;
    options.evictable = false;
    const Result<std::uint64_t> r = detail::set(context_, key, value, options);
    if (!r) return r.error();
    return {};
  }

  const Context context_;
};

std::string_view name_in(const NameRules& r) noexcept { return {r.name, r.name_size}; }

const NameRules* find_known(const NamesNow& names, std::string_view name) noexcept {
  const NameRules* found = nullptr;
  names.for_each([&](unsigned, const NamesNow::Slot& slot) {
    const NameRules* const r = slot.rules_or_null();
    if (r != nullptr && name_in(*r) == name) found = r;
  });
  return found;
}

Error check_new(std::string_view name, const NamespaceOptions& o) noexcept {
  if (name.empty()) return {Status::kInvalidArgument, Field::kName};
  if (name.size() > kNamespaceNameBytesMax) return {Status::kTooLarge, Field::kName};
  const char c = o.separator;
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c != 0 && std::strchr("*?[]{},\\!^-", c) != nullptr)) {
    return {Status::kInvalidArgument, Field::kSeparator};
  }
  if (o.check_paths && o.normalise_paths) return {Status::kInvalidArgument, Field::kNormalisePaths};
  if (o.share_percent > 100) return {Status::kOutOfRange, Field::kSharePercent};
  return {};
}

// What is asked of a namespace that is there, and isn't so.
Error compare(const NameRules& r, const NamespaceOptions& o) noexcept {
  Field field = Field::kNone;
  if (o.share_percent != r.share_percent) field = Field::kSharePercent;
  if (o.normalise_paths != r.normalise_paths) field = Field::kNormalisePaths;
  if (o.check_paths != r.check_paths) field = Field::kCheckPaths;
  if (o.fold_case != r.fold_case) field = Field::kFoldCase;
  if (o.separator != r.separator) field = Field::kSeparator;
  return field == Field::kNone ? Error{} : Error{Status::kInvalidArgument, field};
}

class Opening {
 public:
  Opening(const Call& call, const Context& c) noexcept : core_(call.core()), directory_(c) {}

  // The namespace's rules. `wanted` is null if any will do.
  Result<const NameRules*> open(std::string_view name, const NamespaceOptions* wanted) noexcept {
    if (const Error e = load(); e.status != Status::kOk) return e;
    const NameRules* rules = find_known(names(), name);
    if (rules == nullptr) {
      const Result<const NameRules*> made = make(name, wanted != nullptr ? *wanted : NamespaceOptions{});
      if (!made) return made;
      rules = *made;
    }
    if (wanted != nullptr) {
      if (const Error e = compare(*rules, *wanted); e.status != Status::kOk) return e;
    }
    return rules;
  }

 private:
  NamesNow& names() const noexcept { return core_.space.names; }

  // Those that have come from a snapshot.
  Error load() noexcept {
    if (names().is_loaded()) return {};
    for (unsigned i = 1; i <= detail::kNamesMax; ++i) {
      const Lookup<Value> name = directory_.name_of(i);
      if (name.failed()) return name.error();
      if (!name) break;  // numbers are given out one after the other
      const Result<const NameRules*> known = learn(name->view());
      if (!known && known.status() != Status::kNotFound) return known.error();
    }
    names().set_loaded();
    return {};
  }
  // What the directory says of the name; not_found: nothing.
  Result<const NameRules*> learn(std::string_view name) noexcept {
    const Lookup<Value> bytes = directory_.find(name);
    if (!bytes) return bytes.error();
    NameRules rules;
    if (!read_rules(bytes->view(), name, rules)) return {Status::kCorrupt, Field::kName};
    const NameRules* const known = names().describe(rules);
    if (known == nullptr) return Status::kOutOfMemory;
    if (const Error e = give_share(*known); e.status != Status::kOk) return e;
    return known;
  }
  // By whoever is first.
  Error give_share(const NameRules& rules) noexcept {
    if (rules.share_percent == 0) return {};
    NamesNow::Slot& slot = *names().find(rules.number);
    if (slot.share.exchange(rules.share_percent, std::memory_order_acq_rel) != 0) return {};  // [name] acq_rel
    // Taken before, by this call; or long ago.
    if (is_mine_) {
      has_kept_share_ = true;
    } else {
      names().add_share(rules.share_percent);
    }
    if (!core_.evicts || core_.eviction.add_share(slot, rules.number, rules.share_percent)) return {};
    return {Status::kOutOfMemory, Field::kNone};
  }

  Result<const NameRules*> make(std::string_view name, const NamespaceOptions& o) noexcept {
    NameRules rules;
    rules.separator = o.separator;
    rules.fold_case = o.fold_case;
    rules.check_paths = o.check_paths;
    rules.normalise_paths = o.normalise_paths;
    rules.share_percent = o.share_percent;
    if (!names().take_share(o.share_percent)) return {Status::kOutOfRange, Field::kSharePercent};
    const Result<const NameRules*> made = enter(name, rules);
    if (!has_kept_share_) names().give_back_share(o.share_percent);
    return made;
  }
  Result<const NameRules*> enter(std::string_view name, NameRules& rules) noexcept {
    for (unsigned i = 1; i <= detail::kNamesMax; ++i) {
      const NamesNow::Slot* const slot = names().find(i);
      if (slot != nullptr && slot->rules_or_null() != nullptr) continue;
      if (Result<const NameRules*> there = learn(name); there || there.status() != Status::kNotFound) return there;
      const Result<void> taken = directory_.take(i, name);
      if (!taken && taken.status() != Status::kExists) return taken.error();
      if (!taken) {
        const Lookup<Value> whose = directory_.name_of(i);
        if (whose.failed()) return whose.error();
        if (!whose || whose->view() != name) continue;  // another's; or it was given back just now, and is left
      }
      rules.number = i;
      const Result<void> added = directory_.add(name, rules);
      is_mine_ = added.ok();
      if (!added && added.status() != Status::kExists) {
        directory_.give_back(i, name);
        return added.error();
      }
      const Result<const NameRules*> there = learn(name);
      if (there && (*there)->number != i) directory_.give_back(i, name);
      return there;
    }
    return {Status::kTooLarge, Field::kNamespaces};
  }

  detail::Core<detail::StdSync>& core_;
  const Directory directory_;
  bool is_mine_ = false;  // this call has made it
  bool has_kept_share_ = false;
};

}  // namespace

Result<Namespace> Store::ns(std::string_view name) const noexcept { return open_namespace(name, nullptr); }
Result<Namespace> Store::ns(std::string_view name, const NamespaceOptions& options) const noexcept {
  return open_namespace(name, &options);
}

Result<Namespace> Store::open_namespace(std::string_view name, const NamespaceOptions* options) const noexcept {
  const Call call(context(), Call::Keys::kNone);
  if (!call.ok()) return call.error();
  if (const Error e = check_new(name, options != nullptr ? *options : NamespaceOptions{}); e.status != Status::kOk) return e;
  const Result<const NameRules*> rules = Opening(call, context()).open(name, options);
  if (!rules) return rules.error();
  return Result<Namespace>(Namespace(*this, detail::with_rules(core_, *rules)));
}

// --- a namespace -----------------------------------------------------------------------------------------------------

std::string_view Namespace::name() const noexcept {
  const NameRules* const rules = detail::rules_of(context_);
  return rules != nullptr ? name_in(*rules) : std::string_view();
}

NamespaceOptions Namespace::options() const noexcept {
  const NameRules* const r = detail::rules_of(context_);
  if (r == nullptr) return {};
  return {r->separator, r->fold_case, r->check_paths, r->normalise_paths, r->share_percent};
}

NamespaceStats Namespace::stats() const noexcept {
  NamespaceStats s;
  const Call call(context_, Call::Keys::kNone);
  if (!call.ok()) return s;
  const NamesNow::Slot* const slot = call.core().space.names.find(detail::name_of(context_));
  if (slot == nullptr) return s;
  s.entries = slot->entries.load(std::memory_order_relaxed);  // figures
  s.bytes = slot->bytes.load(std::memory_order_relaxed);      // as above
  s.evicted = slot->evicted.load(std::memory_order_relaxed);  // as above
  for (const auto& reads : slot->reads) {
    s.hits += reads.hits.load(std::memory_order_relaxed);      // as above
    s.misses += reads.misses.load(std::memory_order_relaxed);  // as above
  }
  return s;
}

PatternOptions Namespace::pattern_options(PatternOptions asked) const noexcept {
  return detail::pattern_options(detail::rules_of(context_), asked);
}

Result<View> Namespace::view() const noexcept { return Store::open_view(context_, detail::ViewOwner::kUser); }

Result<bool> Namespace::scan_entries(const ScanOptions& options, ScanCursor* cursor, detail::EntryFn fn) const noexcept {
  const Result<View> view = Store::view_of_call(context_);
  if (!view) return view.error();
  return view->scan_entries(options, cursor, fn);
}

Result<Watch> Namespace::watch(detail::WatchKind kind, std::string_view text, const WatchOptions& options) const noexcept {
  return Store::watch(context_, kind, text, options);
}

Result<std::uint64_t> Namespace::del_pattern(const Pattern& pattern) const noexcept {
  ScanOptions options;
  options.pattern = &pattern;
  return Store::del_scanned(context_, options);
}
Result<std::uint64_t> Namespace::del_pattern(std::string_view pattern) const noexcept {
  const Result<Pattern> p = Pattern::compile(pattern, pattern_options({}));
  if (!p) return p.error();
  return del_pattern(*p);
}
Result<std::uint64_t> Namespace::del_regex(const Regex& regex) const noexcept {
  ScanOptions options;
  options.regex = &regex;
  return Store::del_scanned(context_, options);
}
Result<std::uint64_t> Namespace::del_subtree(std::string_view node) const noexcept {
  if (node.empty()) return {Status::kInvalidKey, Field::kKey};
  ScanOptions options;
  options.subtree = node;
  return Store::del_scanned(context_, options);
}

}  // namespace tern
