// Counts connections and bytes of each source, and ends those over a limit.
#include "control/daemon/connections.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/printable.h"

namespace dr::control {
namespace {

constexpr std::chrono::seconds kSayAgain{1};
constexpr std::chrono::seconds kSweepEvery{2};
constexpr int kEvents = 256;

std::uint64_t received(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
    return info.tcpi_bytes_received;
}

// "192.0.2.1", "2001:db8::1"
std::string text_of(const std::array<std::uint8_t, 16>& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET6, address.data(), text.data(), text.size());
    const std::string_view all(text.data());
    constexpr std::string_view kMapped = "::ffff:";
    return std::string(all.starts_with(kMapped) ? all.substr(kMapped.size()) : all);
}

double seconds(Connections::Clock::duration time) {
    return std::chrono::duration<double>(time).count();
}

}  // namespace

std::uint64_t socket_cookie(int fd) {
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

// Uses a duplicate of the descriptor: its number cannot be reused between the check and the
// shutdown.
bool shut_socket(int fd, std::uint64_t cookie) {
    const FileDescriptor own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!own.valid() || socket_cookie(own.get()) != cookie) return false;
    ::shutdown(own.get(), SHUT_RDWR);
    return true;
}

Connections::Connections(Limits limits, const char* server)
    : limits_(limits), server_(server), events_(::epoll_create1(EPOLL_CLOEXEC)) {}

bool Connections::peer_of(int fd, End& end) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
    if (peer.ss_family == AF_INET6) {
        sockaddr_in6 in6{};
        std::memcpy(&in6, &peer, sizeof in6);
        std::memcpy(end.address.data(), &in6.sin6_addr, end.address.size());
        end.port = ntohs(in6.sin6_port);
        return true;
    }
    if (peer.ss_family != AF_INET) return false;
    sockaddr_in in{};
    std::memcpy(&in, &peer, sizeof in);
    end.address[10] = end.address[11] = 0xff;
    std::memcpy(&end.address[12], &in.sin_addr, 4);
    end.port = ntohs(in.sin_port);
    return true;
}

bool Connections::parse(std::string_view peer, End& end) {
    const auto scheme = peer.find(':');
    const auto colon = peer.rfind(':');
    if (scheme == std::string_view::npos || colon <= scheme) return false;
    std::string_view host = peer.substr(scheme + 1, colon - scheme - 1);
    for (const std::string_view open : {"%5B", "["})
        if (host.starts_with(open)) host.remove_prefix(open.size());
    host = host.substr(0, host.find_first_of("%]"));  // the scope of a link-local address too
    const auto* last = peer.data() + peer.size();
    const auto port = std::from_chars(peer.data() + colon + 1, last, end.port);
    if (port.ec != std::errc{} || port.ptr != last) return false;
    const std::string text(host);
    if (::inet_pton(AF_INET6, text.c_str(), end.address.data()) == 1) return true;
    end.address = {};
    end.address[10] = end.address[11] = 0xff;
    return ::inet_pton(AF_INET, text.c_str(), &end.address[12]) == 1;
}

Connections::Address Connections::source_of(const End& end) {
    Address source = end.address;
    constexpr Address kIpv4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!std::equal(source.begin(), source.begin() + 12, kIpv4.begin()))
        std::fill(source.begin() + 8, source.end(), std::uint8_t{0});
    return source;
}

bool Connections::add(int fd, Clock::time_point now) {
    End end;
    if (!peer_of(fd, end)) return true;  // gone already: the next read fails
    const Address source = source_of(end);
    const std::lock_guard lock(mutex_);
    const auto at = sources_.find(source);
    if (at != sources_.end() && at->second >= limits_.of_source) forget_closed_of(source);
    std::size_t& count = sources_[source];
    if (count >= limits_.of_source) {
        say(fmt::format("a connection from {} is refused: it has {} already", text_of(end.address),
                        count),
            now);
        return false;
    }
    ++count;
    if (limits_.watched) make_room(now);
    ++unknown_;
    Open open;
    open.fd = fd;
    open.cookie = socket_cookie(fd);
    open.looked = open.since = now;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.u64 = open.cookie;
    if (limits_.watched) {
        ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &event);
        arrivals_.push_back(open.cookie);
    }
    const std::uint64_t cookie = open.cookie;
    by_cookie_[cookie] = open_.emplace(end, std::move(open));
    return true;
}

// Strangers may hold many connections open for a while. The newest connection is served within
// milliseconds, and is the last to be ended.
void Connections::make_room(Clock::time_point now) {
    while (!arrivals_.empty()) {
        const auto found = by_cookie_.find(arrivals_.front());
        if (found != by_cookie_.end() && found->second->second.name.empty()) {
            if (limits_.of_unknown == 0 || unknown_ < limits_.of_unknown) return;
            const Open& open = found->second->second;
            say(fmt::format(
                    "the connection of nobody known from {} is ended: {} others like it are "
                    "open, and one more has come",
                    text_of(found->second->first.address), unknown_ - 1),
                now);
            shut_socket(open.fd, open.cookie);
            drop(found->second);
        }
        arrivals_.pop_front();
    }
}

void Connections::known(std::string_view peer, const Owner& owner, std::string_view name) {
    End end;
    if (!parse(peer, end)) return;
    const std::lock_guard lock(mutex_);
    const auto [from, to] = open_.equal_range(end);
    for (auto at = from; at != to; ++at) {
        at->second.owner = owner;
        if (!at->second.name.empty() || name.empty()) continue;
        at->second.name = name;
        --unknown_;
    }
}

bool Connections::cut(std::string_view peer) {
    End end;
    if (!parse(peer, end)) return false;
    bool found = false;
    const std::lock_guard lock(mutex_);
    const auto [from, to] = open_.equal_range(end);
    for (auto at = from; at != to; ++at)
        found = shut_socket(at->second.fd, at->second.cookie) || found;
    return found;
}

std::size_t Connections::cut_all(const Owner& owner) {
    std::size_t count = 0;
    const std::lock_guard lock(mutex_);
    for (const auto& [end, open] : open_)
        if (open.owner == owner && shut_socket(open.fd, open.cookie)) ++count;
    return count;
}

void Connections::look(Clock::time_point now) {
    std::array<epoll_event, kEvents> events{};
    const int count = ::epoll_wait(events_.get(), events.data(), kEvents, 0);
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < count; ++i) {
        const auto at = by_cookie_.find(events[static_cast<std::size_t>(i)].data.u64);
        if (at != by_cookie_.end()) judge(at->second, now);
    }
    if (now - swept_ < kSweepEvery) return;
    swept_ = now;
    sweep(now);
}

void Connections::sweep(Clock::time_point now) {
    for (auto at = open_.begin(); at != open_.end();) {
        const Open& open = at->second;
        const bool late =
            limits_.watched && open.name.empty() && now - open.since >= limits_.unknown_time;
        if (late) shut_socket(open.fd, open.cookie);
        at = late || socket_cookie(open.fd) != open.cookie ? drop(at) : std::next(at);
    }
}

void Connections::judge(Table::iterator at, Clock::time_point now) {
    Open& open = at->second;
    if (socket_cookie(open.fd) != open.cookie) {
        drop(at);
        return;
    }
    const std::uint64_t bytes = received(open.fd);
    const std::uint64_t fresh = bytes - std::min(bytes, open.bytes);
    const double allowed = seconds(now - open.looked) * static_cast<double>(limits_.per_second);
    open.level = std::max(0.0, open.level - allowed) + static_cast<double>(fresh);
    open.bytes = bytes;
    open.looked = now;
    const bool good = open.name.empty() ? bytes <= limits_.unknown
                                        : open.level <= static_cast<double>(limits_.burst);
    if (good) return;
    say(fmt::format("the connection of {} from {} is ended: it has sent {} bytes, more than a UR "
                    "has to say",
                    open.name.empty() ? std::string("nobody known") : quoted(open.name),
                    text_of(at->first.address), bytes),
        now);
    shut_socket(open.fd, open.cookie);
    drop(at);
}

void Connections::forget_closed_of(const Address& source) {
    for (auto at = open_.lower_bound(End{source, 0}); at != open_.end();) {
        const auto here = at++;
        if (source_of(here->first) != source) break;
        if (socket_cookie(here->second.fd) != here->second.cookie) drop(here);
    }
}

Connections::Table::iterator Connections::drop(Table::iterator at) {
    const auto source = sources_.find(source_of(at->first));
    if (source != sources_.end() && --source->second == 0) sources_.erase(source);
    if (at->second.name.empty()) --unknown_;
    by_cookie_.erase(at->second.cookie);
    return open_.erase(at);
}

void Connections::say(const std::string& text, Clock::time_point now) {
    if (said_ != Clock::time_point{} && now - said_ < kSayAgain) {
        ++unsaid_;
        return;
    }
    said_ = now;
    const std::string more =
        unsaid_ == 0 ? std::string() : fmt::format(" ({} like this were not told of)", unsaid_);
    unsaid_ = 0;
    std::fprintf(stderr, "drd: %s: %s%s\n", server_, text.c_str(), more.c_str());
}

std::size_t Connections::size() {
    const std::lock_guard lock(mutex_);
    return open_.size();
}

}  // namespace dr::control
