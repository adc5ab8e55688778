// Clients come and go; events go to those that listen.
#include "dataplane/server/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/server/server_core.h"

namespace dr::southbound {
namespace {

// How long a client whose connection ends with an Error may take to read it.
constexpr std::chrono::seconds kFarewell{1};
// Buffers read from one client before the others have their turn.
constexpr unsigned kBuffersPerTurn = 8;

std::uint64_t steady_ns() {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
            .count());
}

}  // namespace

std::unique_ptr<Server> Server::create(ServerConfig config, TableWriter& writer,
                                       CountersMemfd& counters, std::string* error) {
    std::unique_ptr<Server> self(new Server);
    self->core_ = std::make_unique<Core>(std::move(config), writer, counters);
    Core& core = *self->core_;
    core.listener = Listener::create(core.config.path, core.config.group, error);
    if (core.listener == nullptr) return nullptr;
    core.epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    if (core.epoll < 0 || epoll_ctl(core.epoll, EPOLL_CTL_ADD, core.listener->fd(), &event) != 0) {
        *error = std::string("southbound epoll: ") + std::strerror(errno);
        return nullptr;
    }
    return self;
}

Server::Server() = default;
Server::~Server() = default;

int Server::epoll_fd() const {
    return core_->epoll;
}

bool Server::draining() const {
    return core_->draining;
}

unsigned Server::clients() const {
    return static_cast<unsigned>(
        std::count_if(core_->clients.begin(), core_->clients.end(),
                      [](const std::unique_ptr<Client>& client) { return !client->dead; }));
}

bool Server::adopt(int fd) {
    return core_->add_client(fd);
}

void Server::publish(EventKind kind, std::uint32_t id, std::uint64_t value) {
    core_->publish(kind, id, value);
}

void Server::poll(int timeout_ms) {
    core_->sweep();
    std::array<epoll_event, 32> events;
    const int n =
        epoll_wait(core_->epoll, events.data(), static_cast<int>(events.size()), timeout_ms);
    for (int i = 0; i < n; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.ptr == nullptr)
            core_->accept_clients();
        else
            core_->serve(*static_cast<Client*>(event.data.ptr), event.events);
    }
    core_->sweep();
}

void Server::Core::accept_clients() {
    for (;;) {
        const int fd = accept4(listener->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        add_client(fd);
    }
}

bool Server::Core::add_client(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        close(fd);
        return false;
    }
    auto client = std::make_unique<Client>(fd, config.max_outgoing);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = client.get();
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return false;
    clients.push_back(std::move(client));
    Client& added = *clients.back();
    if (!listener->admits(fd)) {
        refuse(added, Status::NotPermitted,
               "must be root, the data plane's user or in the socket's group");
        return false;
    }
    if (clients.size() > config.max_clients) {
        refuse(added, Status::NotPermitted,
               "too many clients, at most " + std::to_string(config.max_clients));
        return false;
    }
    return true;
}

void Server::Core::serve(Client& client, std::uint32_t events) {
    if (client.dead) return;
    if ((events & EPOLLOUT) != 0 && !client.connection.flush()) drop(client);
    if (client.dead) return;
    if (!client.leaving && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(client);
    if (client.leaving && (events & (EPOLLHUP | EPOLLERR)) != 0) drop(client);
    watch(client);
}

// What a client sent before it went away still counts: a commit that arrived is carried out.
void Server::Core::read(Client& client) {
    for (unsigned i = 0; i < kBuffersPerTurn; ++i) {
        const Connection::Received received = client.connection.receive();
        if (received == Connection::Received::Nothing) return;
        if (received == Connection::Received::Closed) return drop(client);
        for (;;) {
            Connection::Message message;
            const char* fault = nullptr;
            const Connection::Next next = client.connection.next(&message, &fault);
            if (next == Connection::Next::Incomplete) break;
            if (next == Connection::Next::Malformed)
                return refuse(client, Status::Malformed, fault);
            handle(client, message);
            if (client.dead || client.leaving) return;
        }
    }
}

void Server::Core::committed() {
    publish(EventKind::Committed, 0, writer.epoch());
}

void Server::Core::publish(EventKind kind, std::uint32_t id, std::uint64_t value) {
    const Event event{++sequence, steady_ns(), static_cast<std::uint32_t>(kind), id, value};
    for (const std::unique_ptr<Client>& client : clients) {
        if (client->subscribed && !client->dead && !client->leaving)
            answer(*client, Type::Event, bytes_of(event));
    }
}

// The client's memory and descriptor go in sweep(), when no event can refer to them any more.
void Server::Core::drop(Client& client) {
    client.dead = true;
    let_provisioner_go(client);
}

void Server::Core::let_provisioner_go(Client& client) {
    client.in_transaction = false;
    client.transaction.release();
    if (provisioner != &client) return;
    provisioner = nullptr;
    client.provisioner = false;
    writer.sync_abort();
}

// Asks for exactly the readiness that matters: input unless the client is leaving, output while
// something waits.
void Server::Core::watch(Client& client) {
    if (client.dead) return;
    const bool output = client.connection.has_outgoing();
    if (output == client.polls_output && !client.leaving) return;
    client.polls_output = output;
    epoll_event event{};
    event.events = (client.leaving ? 0U : static_cast<std::uint32_t>(EPOLLIN)) |
                   (output ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
    event.data.ptr = &client;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client.connection.fd(), &event);
}

void Server::Core::sweep() {
    std::erase_if(clients, [](const std::unique_ptr<Client>& client) {
        const bool said_goodbye =
            client->leaving && (!client->connection.has_outgoing() ||
                                Clock::now() - client->leaving_since > kFarewell);
        return client->dead || said_goodbye;
    });
}

}  // namespace dr::southbound
