package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// LockDataDir makes the data folder, readable by this user alone, and takes it for
// this process until release is called or the process ends, however it ends. The
// error is one sentence for the administrator.
func LockDataDir(folder string, log *slog.Logger) (release func() error, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data folder %s: %w; check BLOCKCONSOLE_DATA and that this user may write there", folder, err)
	}
	info, err := os.Stat(folder)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the data folder %s: %w; check BLOCKCONSOLE_DATA", folder, err)
	}
	// Only a warning: somebody else may have made the folder, and may have a reason.
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		log.Warn("other users of this machine can look into the data folder", "folder", folder, "mode", mode.String(), "advice", "chmod 700 "+folder)
	}
	path := filepath.Join(folder, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write in the data folder %s: %w; check BLOCKCONSOLE_DATA and that this user may write there", folder, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		sentence := fmt.Errorf("cannot lock %s: %w; check that the file system of BLOCKCONSOLE_DATA can lock files", path, err)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			sentence = fmt.Errorf("the data folder %s is in use by another blockconsole%s; stop that one, or name another folder in BLOCKCONSOLE_DATA",
				folder, lockHolder(file))
		}
		return nil, errors.Join(sentence, file.Close())
	}
	// Who has the folder, for the sentence above. The lock is what counts.
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	if err != nil { // such as on a full disk, where a start must work
		log.Warn("it is not written down which process has the data folder", "folder", folder, "error", err)
	}
	return func() error {
		_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) // a program that is being started may share the open file
		return file.Close()
	}, nil
}

// lockHolder names the process that has the lock, as far as it wrote its number.
func lockHolder(file *os.File) string {
	var pid int
	if _, err := fmt.Fscan(file, &pid); err != nil || pid <= 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}
