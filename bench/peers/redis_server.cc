#include "bench/peers/redis_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "bench/machine.h"

#if TERN_BENCH_HIREDIS
#include "bench/peers/redis_client.h"
#endif

namespace tern::bench {

#if TERN_BENCH_HIREDIS
namespace {

constexpr timeval kPatience{10, 0};
constexpr unsigned kStartTries = 200;  // of 20 ms

Connection connect(int port) { return connected(redisConnectWithTimeout("127.0.0.1", port, kPatience), kPatience); }

// One that nobody listens on at this moment; 0: the system refused.
int free_port() {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  int port = 0;
  if (s >= 0 && ::bind(s, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 &&
      ::getsockname(s, reinterpret_cast<sockaddr*>(&a), &size) == 0) {
    port = ntohs(a.sin_port);
  }
  if (s >= 0) ::close(s);
  return port;
}

}  // namespace

const char* RedisServer::why_absent() { return nullptr; }

RedisServer::RedisServer() {
  if (!start() && error_.empty()) error_ = "redis-server doesn't answer (apt-get install redis-server)";
}

bool RedisServer::start() {
  port_ = free_port();
  if (port_ == 0) {
    error_ = "no free port on the loopback interface";
    return false;
  }
  const std::string port = std::to_string(port_);
  const char* arguments[] = {"redis-server", "--port", port.c_str(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                             "--notify-keyspace-events", "KA", nullptr};
  child_ = spawn_redis(arguments, error_);
  if (child_ < 0) return false;
  for (unsigned i = 0; i != kStartTries; ++i) {
    if (const Connection c = connect(port_)) {
      if (redisAppendCommand(c.get(), "PING") == REDIS_OK && read(*c) != nullptr) return true;
    }
    int status;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      return false;
    }
    ::usleep(20'000);
  }
  return false;
}

RedisServer::~RedisServer() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  int status;
  ::waitpid(child_, &status, 0);
}

double RedisServer::tell(std::uint64_t calls, std::uint64_t keys, unsigned pipelined) {
  const Connection setter = connect(port_), subscriber = connect(port_);
  if (setter == nullptr || subscriber == nullptr || redisAppendCommand(subscriber.get(), "PSUBSCRIBE __keyspace@0__:*") != REDIS_OK ||
      read(*subscriber) == nullptr) {
    error_ = "redis-server refuses clients";
    return 0;
  }
  std::atomic<std::uint64_t> told{0};
  std::thread listener([&] {
    for (std::uint64_t n = 0; n != calls; ++n) {
      const Reply event = read(*subscriber);
      if (event == nullptr || event->type != REDIS_REPLY_ARRAY || event->elements != 4) return;
      told.store(n + 1, std::memory_order_relaxed);
    }
  });
  const double from = wall_seconds();
  const std::string value(64, 'v');
  bool ok = true;
  for (std::uint64_t i = 0; i != calls && ok;) {
    const std::uint64_t n = std::min<std::uint64_t>(pipelined, calls - i);
    for (std::uint64_t k = 0; k != n; ++k) {
      char key[32];
      const int size = std::snprintf(key, sizeof key, "account:%012llu", static_cast<unsigned long long>((i + k) * 7919 % keys));
      redisAppendCommand(setter.get(), "SET %b %b", key, static_cast<std::size_t>(size), value.data(), value.size());
    }
    for (std::uint64_t k = 0; k != n; ++k) ok = read(*setter) != nullptr && ok;
    i += n;
  }
  listener.join();
  const double seconds = wall_seconds() - from;
  if (!ok || told.load(std::memory_order_relaxed) != calls) {
    error_ = "redis-server didn't tell every change";
    return 0;
  }
  return seconds;
}

#else

const char* RedisServer::why_absent() { return "hiredis is absent: apt-get install libhiredis-dev redis-server"; }
RedisServer::RedisServer() : error_(why_absent()) {}
RedisServer::~RedisServer() = default;
bool RedisServer::start() { return false; }
double RedisServer::tell(std::uint64_t, std::uint64_t, unsigned) { return 0; }

#endif

}  // namespace tern::bench
