// Writes a file with a secret, completely and readable only by its owner, or leaves it unchanged.
#pragma once

#include <string>
#include <string_view>

namespace dr::cli {

class SecretFile {
  public:
    // Makes a temporary file in the same folder and reserves space for a secret, so that
    // credentials issued afterwards can be stored. `path` is a regular file of this user with no
    // other name, or is not there. Throws Failure(kExitUsage).
    explicit SecretFile(std::string path);
    // Removes the temporary file unless it was kept.
    ~SecretFile();
    SecretFile(const SecretFile&) = delete;
    SecretFile& operator=(const SecretFile&) = delete;

    // On disk under its name when this returns. Throws Failure(kExitUsage).
    void keep(std::string_view content);

  private:
    [[noreturn]] void unwritable();

    std::string path_;
    std::string temporary_;
    int fd_ = -1;
};

}  // namespace dr::cli
