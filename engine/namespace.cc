// Namespaces as their users have them: how one is found or made (directory.h), and what it says of itself.
#include <tern/namespace.h>

#include <cstring>

#include "engine/directory.h"
#include "engine/store_core.h"
#include "engine/stored_key.h"

namespace tern {

using detail::Call;
using detail::Context;
using detail::NameMark;
using detail::NameRules;

namespace {

using NamesNow = detail::Names<detail::StdSync>;

// Calls of the directory, whose keys are stored ones already.
class Door {
 public:
  explicit Door(const Context& c) noexcept : context_(detail::with_stored_key(c)) {}

  detail::Core<detail::StdSync>& core() const noexcept { return context_.core->core; }
  Error get(std::string_view key, char* out, std::size_t room, std::size_t& size) const noexcept {
    const Lookup<std::size_t> read = detail::get(context_, key, out, room);
    if (read.failed()) return read.error();
    if (!read) return {Status::kNotFound, Field::kNone};
    size = *read;
    return {};
  }
  // Of a snapshot that serves while it is loaded, the key's block comes, and no other.
  Error begin_write(detail::Thread<detail::StdSync>*& t, std::string_view stored_key) const noexcept {
    const Call call(context_, stored_key);
    if (!call.ok()) return call.error(stored_key);
    t = &call.thread();
    return {};
  }

 private:
  const Context context_;
};
using DirectoryNow = detail::Directory<detail::StdSync, Door>;

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

NameRules rules_for(const NamespaceOptions& o) noexcept {
  NameRules rules;
  rules.separator = o.separator;
  rules.fold_case = o.fold_case;
  rules.check_paths = o.check_paths;
  rules.normalise_paths = o.normalise_paths;
  rules.share_percent = o.share_percent;
  return rules;
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

}  // namespace

Result<Namespace> Store::ns(std::string_view name) const noexcept { return open_namespace(name, nullptr); }
Result<Namespace> Store::ns(std::string_view name, const NamespaceOptions& options) const noexcept {
  return open_namespace(name, &options);
}

Result<Namespace> Store::open_namespace(std::string_view name, const NamespaceOptions* options) const noexcept {
  const Call call(context(), Call::Keys::kNone);
  if (!call.ok()) return call.error();
  if (const Error e = check_new(name, options != nullptr ? *options : NamespaceOptions{}); e.status != Status::kOk) return e;
  const DirectoryNow::Opened opened = DirectoryNow(Door(context())).open(name, options != nullptr ? rules_for(*options) : NameRules());
  if (opened.rules == nullptr) return opened.error;
  if (options != nullptr) {
    if (const Error e = compare(*opened.rules, *options); e.status != Status::kOk) return e;
  }
  return Result<Namespace>(Namespace(*this, detail::with_rules(core_, opened.rules)));
}

void detail::StoreCore::learn_names() noexcept {
  // What isn't known for want of memory is learnt by the next who opens one.
  if (core.space.names.any()) (void)DirectoryNow(Door({this, nullptr})).load();
}

// --- a namespace -----------------------------------------------------------------------------------------------------

std::string_view Namespace::name() const noexcept {
  const NameRules* const rules = detail::rules_of(context_);
  return rules != nullptr ? rules->name_view() : std::string_view();
}

NamespaceOptions Namespace::options() const noexcept {
  const NameRules* const r = detail::rules_of(context_);
  return r != nullptr ? detail::options_of(*r) : NamespaceOptions{};
}

NamespaceStats Namespace::stats() const noexcept {
  NamespaceStats s;
  const Call call(context_, Call::Keys::kNone);
  if (!call.ok()) return s;
  const NamesNow::Slot* const slot = call.core().space.names.find(detail::name_of(context_));
  if (slot == nullptr) return s;
  s.entries = slot->figure(slot->entries);
  s.bytes = slot->figure(slot->bytes);
  s.evicted = slot->figure(slot->evicted);
  for (const auto& reads : slot->reads) {
    s.hits += reads.hits.load(std::memory_order_relaxed);      // figures
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
