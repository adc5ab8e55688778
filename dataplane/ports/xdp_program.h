// The steering program of an AF_XDP port as an object of the kernel: carried in this binary,
// attached by the poll-mode driver, recognised and replaced when a killed run left it behind.
//
// The program is attached to the interface itself, not held by a link: after kill -9 it stays, has
// no socket to send to, and drops packets for the data plane.
//
// Thread: main.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/ip.h"

namespace dr {

// The embedded object as a file, for the driver, which takes a path.
class XdpObjectFile final {
  public:
    static std::optional<XdpObjectFile> create(std::string* error);
    // Valid in this process as long as this object lives.
    [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

  private:
    FileDescriptor fd_;
};

// The maps of one loaded steering program.
class XdpMaps final {
  public:
    // Of the program attached to an interface. Empty and a reason when there is none, when it is
    // not ours, or when its maps cannot be opened.
    static std::optional<XdpMaps> of_interface(const std::string& interface, std::string* error);
    static std::optional<XdpMaps> of_program(int program_fd, std::string* error);

    // Attaches the program that these maps belong to; the interface must have none.
    bool attach(const std::string& interface, std::string* error) const;
    // Packets for the data plane on a receive queue, since the program was loaded.
    [[nodiscard]] std::uint64_t arrived(std::uint32_t queue) const;
    [[nodiscard]] std::uint32_t program_id() const { return program_id_; }

    // false: the kernel refused (full). Removing a missing entry is not an error.
    [[nodiscard]] bool add_local(const IpAddress& address) const;
    void remove_local(const IpAddress& address) const;
    [[nodiscard]] bool add_pool(const IpPrefix& prefix) const;
    void remove_pool(const IpPrefix& prefix) const;

    [[nodiscard]] std::vector<IpAddress> locals() const;
    [[nodiscard]] std::vector<IpPrefix> pools() const;

  private:
    FileDescriptor program_;
    std::uint32_t program_id_ = 0;
    FileDescriptor arrived_;
    FileDescriptor locals_;
    FileDescriptor pools4_;
    FileDescriptor pools6_;
};

enum class XdpAttachment { None, Ours, Foreign };
// The program that is attached to an interface, and its name.
XdpAttachment xdp_attachment(const std::string& interface, std::string* name);
// The id of the program that is attached; 0: none.
std::uint32_t xdp_attached_id(const std::string& interface);
// Detaches the steering program; a foreign one is left alone. false: the kernel refused.
bool xdp_detach(const std::string& interface);

}  // namespace dr
