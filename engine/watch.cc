// Watches as their users have them.
#include <tern/watch.h>

#include <utility>

#include "engine/feed.h"
#include "engine/stored_key.h"

namespace tern {

using detail::Call;
using detail::Feed;
using detail::KeyFilter;

namespace {

Result<Feed*> open_feed(const detail::Context& context, KeyFilter::Kind kind, std::string_view text,
                        const WatchOptions& options) noexcept {
  const Call call(context);
  if (!call.ok()) return call.error();
  const detail::NameRules* const rules = detail::rules_of(context);
  // What keys look like in the store, without the namespace's mark.
  detail::KeyBytes own;
  if (kind == KeyFilter::Kind::kKey) {
    if (const Error e = Call::key_error(text, kKeyBytesMax); e.status != Status::kOk) return e;
    const detail::StoredKey stored(context, text);
    if (stored.error().status != Status::kOk) return stored.error();
    if (!own.assign(detail::own_key(stored.view()))) return Status::kOutOfMemory;
    text = own.view();
  } else if (kind == KeyFilter::Kind::kPrefix) {
    if (text.size() > kKeyBytesMax) return {Status::kTooLarge, Field::kKey};
    if (!own.assign(text)) return Status::kOutOfMemory;
    if (rules != nullptr && rules->fold_case) detail::fold(own.data(), text.size());
    text = own.view();
  }
  KeyFilter filter;
  const char separator = rules != nullptr ? rules->separator : options.separator;
  const bool fold_case = options.fold_case || (rules != nullptr && rules->fold_case);
  if (const Error e = filter.open(kind, text, separator, fold_case); e.status != Status::kOk) return e;
  return Feed::open(call.store(), std::move(filter), options, nullptr, detail::name_of(context));
}

}  // namespace

Result<Watch> Store::watch(const detail::Context& c, detail::WatchKind kind, std::string_view text,
                           const WatchOptions& options) noexcept {
  const Result<Feed*> feed = open_feed(c, static_cast<KeyFilter::Kind>(kind), text, options);
  if (!feed) return feed.error();
  return Result<Watch>(Watch(*feed));
}

Watch& Watch::operator=(Watch&& other) noexcept {
  Watch moved(std::move(other));
  std::swap(feed_, moved.feed_);
  return *this;
}

void Watch::close() noexcept {
  if (Feed* feed = std::exchange(feed_, nullptr)) feed->close();
}

Result<std::size_t> Watch::poll(std::span<Change> out) noexcept {
  if (feed_ == nullptr) return Status::kClosed;
  return feed_->poll(out);
}
Result<bool> Watch::wait(std::chrono::milliseconds timeout) noexcept {
  if (feed_ == nullptr) return Status::kClosed;
  return feed_->wait_ms(timeout.count());
}
Result<int> Watch::descriptor() noexcept {
  if (feed_ == nullptr) return Status::kClosed;
  return feed_->descriptor();
}
Result<Value> Watch::token() const noexcept {
  if (feed_ == nullptr) return Status::kClosed;
  return feed_->token();
}
std::uint64_t Watch::lost() const noexcept { return feed_ == nullptr ? 0 : feed_->lost(); }
std::uint64_t Watch::lag() const noexcept { return feed_ == nullptr ? 0 : feed_->lag(); }
std::uint64_t Watch::id() const noexcept { return feed_ == nullptr ? 0 : feed_->id(); }

}  // namespace tern
