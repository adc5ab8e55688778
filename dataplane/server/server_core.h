// Inside the server: its clients and what it does with their messages. Used by server.cpp (sockets)
// and session.cpp (messages) only.
#pragma once

#include <unistd.h>

#include <chrono>
#include <string_view>
#include <vector>

#include "dataplane/server/connection.h"
#include "dataplane/server/listener.h"
#include "dataplane/server/server.h"

namespace dr::southbound {

using Clock = std::chrono::steady_clock;

struct Client {
    Client(int fd, std::size_t max_outgoing) : connection(fd, max_outgoing) {}

    Connection connection;
    Transaction transaction;
    std::uint64_t transaction_id{};
    bool greeted{};
    bool provisioner{};
    bool in_transaction{};
    bool subscribed{};
    bool leaving{};  // has been sent an Error; closed as soon as it is on its way
    bool dead{};
    bool polls_output{};
    Clock::time_point leaving_since{};
};

struct Server::Core {
    Core(ServerConfig config_in, TableWriter& writer_in, CountersMemfd& counters_in)
        : config(std::move(config_in)), writer(writer_in), counters(counters_in) {}
    ~Core() {
        if (epoll >= 0) close(epoll);
    }

    void accept_clients();
    bool add_client(int fd);
    void serve(Client& client, std::uint32_t events);
    void read(Client& client);
    void handle(Client& client, const Connection::Message& message);
    void handle_hello(Client& client, Bytes body);
    void handle_record(Client& client, Type type, Bytes body);
    void handle_begin(Client& client, Bytes body);
    void handle_commit(Client& client, Bytes body);
    void handle_sync_end(Client& client, Bytes body);
    void handle_drain(Client& client, Bytes body);
    void handle_gate(Client& client, Bytes body);
    void handle_plain(Client& client, Type type);

    void answer(Client& client, Type type, Bytes body, int passed = -1);
    void answer_state(Client& client, Type type);
    void answer_result(Client& client, Type type, std::uint64_t id, const Outcome& outcome);
    void refuse(Client& client, Status status, std::string_view text);
    bool permitted(Client& client, bool in_transaction);
    void committed();
    void publish(EventKind kind, std::uint32_t id, std::uint64_t value);
    void drop(Client& client);
    void let_provisioner_go(Client& client);
    void watch(Client& client);
    void sweep();

    ServerConfig config;
    TableWriter& writer;
    CountersMemfd& counters;
    std::unique_ptr<Listener> listener;
    int epoll = -1;
    std::vector<std::unique_ptr<Client>> clients;
    Client* provisioner{};
    std::uint64_t sequence{};
    bool draining{};
};

}  // namespace dr::southbound
