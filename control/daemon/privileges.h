// Starts as root and continues as another user, without capabilities.
//
// In a directory of that user drd creates files as that user, so that a link there gives the user
// nothing new. As root it creates files only where nobody but root could place a link.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace dr::control {

class Privileges {
  public:
    // `user` empty: as started. Throws StartError when there is no such user, or when the process
    // is neither root nor that user.
    explicit Privileges(const std::string& user);

    // Makes a directory for files with secrets if it is missing: mode 0700, the user's. Its parents
    // are made with 0755. Throws StartError, also when drd runs as root and somebody else could
    // change what is there.
    void make_secret_directory(const std::string& path) const;
    // Makes a directory for a socket if it is missing: mode 0755, root's when root starts drd, so
    // that the data plane's socket can be there too. Throws StartError.
    void make_socket_directory(const std::string& path) const;

    // The calling process acts as the user on files, until the end of the scope. Throws StartError.
    class Acting {
      public:
        explicit Acting(const Privileges& as);
        Acting(const Acting&) = delete;
        Acting& operator=(const Acting&) = delete;
        ~Acting();

      private:
        bool active_;
        gid_t group_before_ = 0;
        std::vector<gid_t> groups_before_;
    };

    // Whether the user may make files in the directory.
    [[nodiscard]] bool user_may_write(const std::string& directory) const;
    // Gives the user a socket that root has made in a directory where only root may write. Does not
    // follow a link. Throws StartError.
    void give_socket(const std::string& path) const;
    // Throws StartError when root would act in a directory where somebody else could put a link.
    void require_own(const std::string& directory) const;

    // For good, in all threads: the user with its groups, no capability, no core dump. As root
    // without a user: root without a capability, and a warning. Throws StartError.
    void drop() const;

  private:
    [[nodiscard]] bool switching() const { return switching_; }
    void make_directory(const std::string& path, mode_t mode, bool for_user) const;

    std::string user_;
    bool switching_ = false;
    uid_t uid_ = 0;
    gid_t gid_ = 0;
};

}  // namespace dr::control
