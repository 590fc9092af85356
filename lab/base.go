//go:build linux

package lab

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages are on every host. The services among them are installed as a person
// would, and then disabled: a test starts what it wants. Only sshd runs.
const packages = "systemd,systemd-sysv,libpam-systemd,dbus,iproute2,nftables,procps," +
	"openssh-server,samba,nginx-light,redis-server,netcat-openbsd"

// recipe is run once in the root file system, after debootstrap.
const recipe = `
systemctl disable smbd nmbd samba-ad-dc nginx redis-server
systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
useradd --create-home --shell /bin/bash lena
for home in /root /home/lena; do
	mkdir -p -m 700 $home/.ssh
	cp /tmp/id.pub $home/.ssh/authorized_keys
done
chown -R lena: /home/lena
rm -rf /tmp/id.pub /var/cache/apt/archives/*.deb
`

// base is a root file system that hosts are copies of, and the key that opens
// them to ssh.
type base struct {
	root string
	key  string
}

// makeBase returns the base, from the cache or newly made, which takes a minute.
func makeBase() (base, error) {
	// The suite is not part of the name: a cached base serves without apt lists.
	dir, err := cached(packages+recipe, bootstrap)
	return base{root: filepath.Join(dir, "root"), key: filepath.Join(dir, "id")}, err
}

// cached returns the folder that make fills, named after the recipe that it is
// made by, from the cache or newly made. The cache is
// $XDG_CACHE_HOME/firebreak-lab, or else /var/cache/firebreak-lab.
func cached(recipe string, make func(dir string) error) (string, error) {
	cache := filepath.Join("/var/cache", "firebreak-lab")
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		cache = filepath.Join(dir, "firebreak-lab")
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fmt.Errorf("make cache: %w", err)
	}
	sum := sha256.Sum256([]byte(recipe))
	dir := filepath.Join(cache, hex.EncodeToString(sum[:6]))
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unfinished := dir + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("remove an unfinished base: %w", err)
	}
	if err := make(unfinished); err != nil {
		return "", err
	}
	return dir, os.Rename(unfinished, dir)
}

// bootstrap makes root, id and id.pub in a folder.
func bootstrap(dir string) error {
	root, err := debian(dir, "", packages)
	if err != nil {
		return err
	}
	key := filepath.Join(dir, "id")
	if err := run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key); err != nil {
		return err
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	if err := os.WriteFile(filepath.Join(root, "tmp/id.pub"), public, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return run("chroot", root, "sh", "-ec", recipe)
}

// debian installs packages, separated by commas, of a suite ("" is the one that
// this machine has) and returns where their root file system is: dir/root.
func debian(dir, suite, packages string) (root string, err error) {
	from, err := aptSource()
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, "home")
	root = filepath.Join(dir, "root")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil { // open to all: it becomes a host's /
		return "", fmt.Errorf("make folder: %w", err)
	}
	env, err := aptEnvironment(home)
	if err != nil {
		return "", err
	}
	keyring := filepath.Join(dir, "keyring.gpg")
	if err := writeKeyring(keyring); err != nil {
		return "", fmt.Errorf("write keyring: %w", err)
	}
	suite = cmp.Or(suite, from.suite)
	cmd := exec.Command("debootstrap", "--variant=minbase", "--include="+packages,
		"--keyring="+keyring, suite, root, from.uri)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("debootstrap %s: %w: %s", suite, err, lastLines(string(out), 15))
	}
	if err := os.RemoveAll(home); err != nil {
		return "", fmt.Errorf("remove passwords: %w", err)
	}
	return root, nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
