package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// embed starts the server in this process. It listens on no port.
func (b *Broker) embed() error {
	if err := os.MkdirAll(b.cfg.Dir, 0o700); err != nil {
		return errkind.New(errkind.Invalid, "create broker directory: %w", err)
	}
	var err error
	if b.lock, err = lockDir(b.cfg.Dir); err != nil {
		return err
	}
	b.server, err = server.NewServer(&server.Options{
		ServerName:             "bucketmesh",
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               b.cfg.Dir,
		DisableJetStreamBanner: true,
		MaxPayload:             maxPayload,
		SyncAlways:             b.cfg.SyncAlways,
		// The streams have their own limits; these only have to be above them, where the default depends on the free
		// space of the disk.
		JetStreamMaxStore:  b.cfg.MaxBytes + b.cfg.MaxDeadBytes + maxPayload,
		JetStreamMaxMemory: maxPayload,
	})
	if err != nil {
		return errkind.New(errkind.Invalid, "make embedded broker: %w", err)
	}
	b.server.SetLoggerV2(serverLog{b.log}, false, false, false)
	go b.server.Start()
	if !b.server.ReadyForConnections(startWait) || !b.server.JetStreamEnabled() {
		return errkind.New(errkind.Unavailable, "start embedded broker: not ready after %v; see the log", startWait)
	}
	return nil
}

// lockDir makes sure that this process alone uses dir: two servers on one store would destroy it, and the server itself
// does not look. The system frees the lock when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "lock broker directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process uses it")
		}
		return nil, errkind.New(errkind.Unavailable, "lock broker directory %s: %w", dir, errors.Join(err, f.Close()))
	}
	return f, nil
}

// serverLog writes the log lines of the server to slog.
type serverLog struct{ log *slog.Logger }

var _ server.Logger = serverLog{}

func (l serverLog) Noticef(f string, a ...any) {
	l.log.Debug("broker server", "message", fmt.Sprintf(f, a...))
}
func (l serverLog) Debugf(f string, a ...any) {
	l.log.Debug("broker server", "message", fmt.Sprintf(f, a...))
}
func (l serverLog) Tracef(f string, a ...any) {
	l.log.Debug("broker server", "message", fmt.Sprintf(f, a...))
}
func (l serverLog) Warnf(f string, a ...any) {
	l.log.Warn("broker server", "message", fmt.Sprintf(f, a...))
}
func (l serverLog) Errorf(f string, a ...any) {
	l.log.Error("broker server", "message", fmt.Sprintf(f, a...))
}
func (l serverLog) Fatalf(f string, a ...any) {
	l.log.Error("broker server", "message", fmt.Sprintf(f, a...))
}

// redact keeps a secret out of an error message.
func redact(err error, secret string) error {
	if secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), secret, "(url)"))
}
