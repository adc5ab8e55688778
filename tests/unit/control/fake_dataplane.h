// A scripted data plane on a real socket, with a thread of its own.
#pragma once

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "dataplane/server/liveness_memfd_writer.h"
#include "dataplane/southbound/protocol.h"

namespace dr::control::test {

// As REQUIRE, in a thread in which Catch may not be used.
inline void must(bool holds) {
    if (holds) return;
    std::perror("the scripted data plane");
    std::abort();
}

// Speaks the protocol as an empty data plane does, except where the script says otherwise.
class FakeDataplane {
  public:
    // What to do with the nth (from 0) commit of this connection; Ok: accept.
    using OnCommit = std::function<southbound::Status(int connection, int commit)>;

    FakeDataplane(std::string path, std::uint32_t version, OnCommit on_commit)
        : path_(std::move(path)),
          version_(version),
          on_commit_(std::move(on_commit)),
          liveness_(make_liveness()),
          listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        must(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        must(::listen(listener_.get(), 4) == 0);
        thread_ = std::thread([this] { run(); });
    }
    FakeDataplane(const FakeDataplane&) = delete;
    FakeDataplane& operator=(const FakeDataplane&) = delete;
    ~FakeDataplane() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        {
            const std::lock_guard lock(mutex_);
            if (client_ >= 0) ::shutdown(client_, SHUT_RDWR);
        }
        thread_.join();
    }

    southbound::LivenessMemfd& liveness() { return *liveness_; }
    int syncs() const { return syncs_; }
    int connections() const { return connections_; }
    std::atomic<std::uint32_t> around_own{0};  // as State has it
    std::uint32_t last_sync_flags() const { return last_sync_flags_; }
    std::uint32_t last_commit_flags() const { return last_commit_flags_; }

  private:
    static std::unique_ptr<southbound::LivenessMemfd> make_liveness() {
        std::string error;
        auto table = southbound::LivenessMemfd::create(16, 1, {1}, &error);
        must(table != nullptr);
        southbound::LivenessState state{};
        state.tunnel = 0x01000007;
        table->write_row(7, state);
        return table;
    }
    void run() {
        for (;;) {
            const FileDescriptor client(::accept(listener_.get(), nullptr, nullptr));
            if (!client.valid()) return;
            {
                const std::lock_guard lock(mutex_);
                client_ = client.get();
            }
            commits_ = 0;
            converse(client.get());
            ++connections_;
            const std::lock_guard lock(mutex_);
            client_ = -1;
        }
    }

    static bool read_all(int fd, void* to, std::size_t size) {
        return size == 0 || ::recv(fd, to, size, MSG_WAITALL) == static_cast<ssize_t>(size);
    }
    template <typename T>
    static void reply(int fd, southbound::Type type, const T& body, int descriptor = -1) {
        southbound::Header header{sizeof(T), static_cast<std::uint16_t>(type), 0};
        std::array<iovec, 2> parts{iovec{&header, sizeof header},
                                   iovec{const_cast<T*>(&body), sizeof body}};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = parts.size();
        if (descriptor >= 0) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* c = CMSG_FIRSTHDR(&message);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            std::memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
        }
        ::sendmsg(fd, &message, MSG_NOSIGNAL);
    }
    southbound::Result result(southbound::Status status) const {
        southbound::Result r{};
        r.id = transaction_;
        r.status = static_cast<std::uint32_t>(status);
        r.epoch = 1;
        if (status != southbound::Status::Ok)
            std::string("table subscribers is full").copy(r.text.data(), 100);
        return r;
    }
    static void send_counters(int fd) {
        const FileDescriptor memory(::memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        southbound::CountersHeader header{};
        header.magic = southbound::kCountersMagic;
        header.version = 1;
        header.uuid[0] = 1;
        header.worker_stride = sizeof(southbound::WorkerBlock);
        must(::ftruncate(memory.get(), 4096) == 0);
        must(::pwrite(memory.get(), &header, sizeof header, 0) == sizeof header);
        must(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
        southbound::CountersReply body{4096, {}};
        body.uuid[0] = 1;
        reply(fd, southbound::Type::CountersReply, body, memory.get());
    }

    void converse(int fd) {
        southbound::Header header{};
        std::vector<std::uint8_t> body;
        while (read_all(fd, &header, sizeof header)) {
            body.resize(header.length);
            if (!read_all(fd, body.data(), body.size())) return;
            if (!answer(fd, static_cast<southbound::Type>(header.type), body)) return;
        }
    }

    bool answer(int fd, southbound::Type type, const std::vector<std::uint8_t>& body) {
        southbound::State state{};
        state.version = version_;
        state.uuid[0] = 1;
        state.around_own = around_own;
        switch (type) {
            case southbound::Type::Hello:
                reply(fd, southbound::Type::HelloReply, state);
                return true;
            case southbound::Type::GetCounters:
                send_counters(fd);
                return true;
            case southbound::Type::GetLiveness:
                reply(fd, southbound::Type::LivenessReply,
                      southbound::LivenessReply{liveness_->bytes(), liveness_->uuid()},
                      liveness_->fd());
                return true;
            case southbound::Type::GetDrops:
                // Of no use: drd goes on without.
                reply(fd, southbound::Type::DropsReply,
                      southbound::DropsReply{liveness_->bytes(), liveness_->uuid()},
                      liveness_->fd());
                return true;
            case southbound::Type::GetState:
                reply(fd, southbound::Type::State, state);
                return true;
            case southbound::Type::TxnBegin:
                std::memcpy(&transaction_, body.data(), 8);
                return true;
            case southbound::Type::TxnCommit: {
                std::uint32_t flags = 0;
                std::memcpy(&flags, body.data(), 4);
                last_commit_flags_ = flags;
                const auto status = on_commit_(connections_, commits_++);
                if (status == southbound::Status::BadSequence) return false;  // hangs up
                reply(fd, southbound::Type::TxnResult, result(status));
                return true;
            }
            case southbound::Type::SyncEnd: {
                std::uint32_t flags = 0;
                std::memcpy(&flags, body.data(), 4);
                last_sync_flags_ = flags;
                ++syncs_;
                reply(fd, southbound::Type::SyncResult, result(southbound::Status::Ok));
                return true;
            }
            default:
                return true;
        }
    }

    std::string path_;
    std::uint32_t version_;
    OnCommit on_commit_;
    std::unique_ptr<southbound::LivenessMemfd> liveness_;
    FileDescriptor listener_;
    std::thread thread_;
    std::mutex mutex_;
    int client_ = -1;
    std::uint64_t transaction_ = 0;
    int commits_ = 0;
    std::atomic<int> syncs_{0};
    std::atomic<int> connections_{0};
    std::atomic<std::uint32_t> last_sync_flags_{0};
    std::atomic<std::uint32_t> last_commit_flags_{0};
};

inline southbound::Status accept_all(int, int) {
    return southbound::Status::Ok;
}

}  // namespace dr::control::test
