// What a client's messages mean: the conversation of protocol.h.
#include <poll.h>

#include <cstring>

#include "dataplane/server/server_core.h"

namespace dr::southbound {
namespace {

void copy_text(std::string_view from, std::array<char, 160>* to) {
    to->fill('\0');
    from.copy(to->data(), to->size() - 1);
}

}  // namespace

void Server::Core::handle(Client& client, const Connection::Message& message) {
    const Type type{message.header.type};
    const Bytes body = message.body;
    if (!client.greeted && type != Type::Hello)
        return refuse(client, Status::BadSequence, "the first message must be Hello");
    if (is_record(type)) return handle_record(client, type, body);
    switch (type) {
        case Type::Hello:
            return handle_hello(client, body);
        case Type::TxnBegin:
            return handle_begin(client, body);
        case Type::TxnCommit:
            return handle_commit(client, body);
        case Type::SyncEnd:
            return handle_sync_end(client, body);
        case Type::SetDrain:
            return handle_drain(client, body);
        case Type::AdvanceGate:
            return handle_gate(client, body);
        case Type::TxnAbort:
        case Type::SyncBegin:
        case Type::GetState:
        case Type::GetCounters:
        case Type::GetLiveness:
        case Type::GetDrops:
        case Type::Subscribe:
            if (!body.empty())
                return refuse(client, Status::Malformed, "this message type has no body");
            return handle_plain(client, type);
        default:
            return refuse(client, Status::Malformed,
                          "message type " + std::to_string(message.header.type) +
                              " is none that a client sends");
    }
}

void Server::Core::handle_hello(Client& client, Bytes body) {
    Hello hello;
    // The version stands first in every version, so that another one gets a useful answer.
    if (body.size() >= sizeof hello.version) {
        std::memcpy(&hello.version, body.data(), sizeof hello.version);
        if (hello.version != kVersion)
            return refuse(client, Status::BadVersion,
                          "protocol version " + std::to_string(hello.version) +
                              ", this data plane speaks " + std::to_string(kVersion));
    }
    if (!read_exact(body, &hello) || hello.role > kProvisioner)
        return refuse(client, Status::Malformed, "Hello has a wrong length or role");
    if (client.greeted) return refuse(client, Status::BadSequence, "a second Hello");
    if (hello.role == kProvisioner) {
        // One that has just died may not have been read to its end yet.
        if (provisioner != nullptr) {
            pollfd probe{provisioner->connection.fd(), POLLIN, 0};
            if (::poll(&probe, 1, 0) == 1 && (probe.revents & (POLLHUP | POLLERR)) != 0)
                read(*provisioner);
            if (provisioner != nullptr && (probe.revents & (POLLHUP | POLLERR)) != 0)
                drop(*provisioner);
        }
        if (provisioner != nullptr)
            return refuse(client, Status::NotPermitted, "another provisioner is connected");
        provisioner = &client;
        client.provisioner = true;
    }
    client.greeted = true;
    answer_state(client, Type::HelloReply);
}

// May this client change tables now? Otherwise it has been sent away.
bool Server::Core::permitted(Client& client, bool in_transaction) {
    if (!client.provisioner) {
        refuse(client, Status::NotPermitted, "only the provisioner may do that");
        return false;
    }
    if (client.in_transaction != in_transaction) {
        refuse(client, Status::BadSequence,
               in_transaction ? "needs TxnBegin first" : "a transaction is still open");
        return false;
    }
    return true;
}

void Server::Core::handle_record(Client& client, Type type, Bytes body) {
    if (!permitted(client, true)) return;
    if (!client.transaction.add(type, body))
        refuse(client, Status::Malformed,
               "transaction over " + std::to_string(kMaxTxnRecords) + " records or " +
                   std::to_string(kMaxTxnBytes) + " bytes");
}

void Server::Core::handle_begin(Client& client, Bytes body) {
    TxnBegin begin;
    if (!permitted(client, false)) return;
    if (!read_exact(body, &begin))
        return refuse(client, Status::Malformed, "TxnBegin has a wrong length");
    client.in_transaction = true;
    client.transaction_id = begin.id;
    client.transaction.clear();
}

void Server::Core::handle_commit(Client& client, Bytes body) {
    TxnCommit commit;
    if (!permitted(client, true)) return;
    if (!read_exact(body, &commit) || (commit.flags & ~kForce) != 0 || commit.reserved != 0)
        return refuse(client, Status::Malformed, "TxnCommit has a wrong length or unknown flags");
    client.in_transaction = false;
    const Outcome outcome = writer.commit(client.transaction, (commit.flags & kForce) != 0);
    client.transaction.clear();
    answer_result(client, Type::TxnResult, client.transaction_id, outcome);
    if (outcome.ok()) committed();
}

void Server::Core::handle_sync_end(Client& client, Bytes body) {
    TxnCommit end;
    if (!permitted(client, false)) return;
    if (!read_exact(body, &end) || (end.flags & ~kForce) != 0 || end.reserved != 0)
        return refuse(client, Status::Malformed, "SyncEnd has a wrong length or unknown flags");
    if (!writer.syncing()) return refuse(client, Status::BadSequence, "SyncEnd without SyncBegin");
    const Outcome outcome = writer.sync_end((end.flags & kForce) != 0);
    if (outcome.ok()) client.transaction.release();
    answer_result(client, Type::SyncResult, 0, outcome);
    if (outcome.ok()) committed();
}

void Server::Core::handle_drain(Client& client, Bytes body) {
    SetDrain set;
    if (!client.provisioner)
        return refuse(client, Status::NotPermitted, "only the provisioner may do that");
    if (!read_exact(body, &set) || set.drain > 1 || set.reserved != 0)
        return refuse(client, Status::Malformed, "SetDrain has a wrong length or value");
    draining = set.drain != 0;
    answer_state(client, Type::State);
}

void Server::Core::handle_gate(Client& client, Bytes body) {
    AdvanceGate gate;
    if (!read_exact(body, &gate) || gate.reserved != 0)
        return refuse(client, Status::Malformed, "AdvanceGate has a wrong length");
    if (!config.on_advance_gate)
        return refuse(client, Status::NotPermitted, "this data plane has no gated port");
    config.on_advance_gate(gate.step);
    answer_state(client, Type::State);
}

void Server::Core::handle_plain(Client& client, Type type) {
    switch (type) {
        case Type::TxnAbort:
            if (!permitted(client, true)) return;
            client.in_transaction = false;
            client.transaction.clear();
            return;
        case Type::SyncBegin:
            if (permitted(client, false)) writer.sync_begin();
            return;
        case Type::GetState:
            return answer_state(client, Type::State);
        case Type::GetCounters: {
            const CountersReply reply{counters.bytes(), counters.uuid()};
            return answer(client, Type::CountersReply, bytes_of(reply), counters.fd());
        }
        case Type::GetLiveness: {
            if (config.liveness == nullptr)
                return refuse(client, Status::NotPermitted,
                              "this data plane has no liveness threads");
            const LivenessReply reply{config.liveness->bytes(), config.liveness->uuid()};
            return answer(client, Type::LivenessReply, bytes_of(reply), config.liveness->fd());
        }
        case Type::GetDrops: {
            if (config.drops == nullptr)
                return refuse(client, Status::NotPermitted,
                              "this data plane takes no notes of dropped packets");
            const DropsReply reply{config.drops->bytes(), config.drops->uuid()};
            return answer(client, Type::DropsReply, bytes_of(reply), config.drops->fd());
        }
        default:
            client.subscribed = true;
            return;
    }
}

void Server::Core::answer(Client& client, Type type, Bytes body, int passed) {
    if (!client.connection.send(type, body, passed)) return drop(client);
    watch(client);
}

void Server::Core::answer_state(Client& client, Type type) {
    State state{};
    state.version = kVersion;
    state.flags = (draining ? kStateDrain : 0) | (writer.synced() ? kStateSynced : 0);
    state.uuid = counters.uuid();
    std::string_view(DR_VERSION).copy(state.build.data(), state.build.size() - 1);
    writer.fill(&state);
    counters.report(&state);
    if (config.liveness != nullptr) config.liveness->report(&state);
    if (config.drops != nullptr) config.drops->report(&state);
    if (config.report) config.report(&state);
    answer(client, type, bytes_of(state));
}

void Server::Core::answer_result(Client& client, Type type, std::uint64_t id,
                                 const Outcome& outcome) {
    Result result{};
    result.id = id;
    result.status = static_cast<std::uint32_t>(outcome.status);
    result.record = outcome.record;
    result.epoch = writer.epoch();
    result.rows = writer.rows();
    copy_text(outcome.text, &result.text);
    answer(client, type, bytes_of(result));
}

void Server::Core::refuse(Client& client, Status status, std::string_view text) {
    if (client.leaving || client.dead) return;
    answer_result(client, Type::Error, 0, {status, 0, std::string(text)});
    client.leaving = true;
    client.leaving_since = Clock::now();
    let_provisioner_go(client);
    if (!client.dead) watch(client);
}

}  // namespace dr::southbound
