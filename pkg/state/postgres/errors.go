package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// SQLSTATE codes that decide something here (PostgreSQL manual, appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	readOnlyTransaction  = "25006" // a standby, or a primary that was demoted
	insufficientRights   = "42501"
	queryCanceled        = "57014"
)

// call runs fn within the call's time, and again if it surely changed nothing and can succeed the next time.
func (s *Store) call(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.try(ctx, again, fn)
}

// repeat is call for what may happen twice: it goes on over another connection if one broke, whatever became of it.
func (s *Store) repeat(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.try(ctx, func(err error) bool { return again(err) || broken(err) }, fn)
}

func (s *Store) try(ctx context.Context, again func(error) bool, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := fn(ctx)
		if err != nil && !again(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxTries(s.o.Tries), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 5 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 3, MaxInterval: time.Second,
	}))
	return err
}

// again reports whether err says that nothing was changed, by chance: PostgreSQL undid the transaction in favour of
// another one, or a pooled connection was found dead before anything was sent.
func again(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == serializationFailure || pg.Code == deadlockDetected
	}
	var connect *pgconn.ConnectError
	return pgconn.SafeToRetry(err) && !errors.As(err, &connect)
}

// broken reports whether a connection that was there broke under the call. Not to get one at all, or to run out of
// time, is something else: the caller knows better when to try that again.
func broken(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08")
	}
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect), pgconn.Timeout(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isUnique(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == uniqueViolation
}

// classify gives err a kind, unless it has one.
func classify(what string, err error) error {
	var e *errkind.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	}
	return errkind.New(kindOf(err), "%s: %w", what, err)
}

func kindOf(err error) errkind.Kind {
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return errkind.Canceled
	case errors.As(err, &pg):
		return kindOfCode(pg.Code)
	case errors.As(err, &connect), errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded),
		pgconn.SafeToRetry(err), pgconn.Timeout(err):
		return errkind.Unavailable
	case errors.Is(err, pgx.ErrNoRows):
		return errkind.NotFound
	}
	// What is left comes from a connection that broke (an unexpected end, a closed pool): the outcome is open.
	return errkind.Unavailable
}

func kindOfCode(code string) errkind.Kind {
	switch code {
	case serializationFailure, deadlockDetected:
		return errkind.Conflict
	case readOnlyTransaction, queryCanceled:
		return errkind.Unavailable
	case insufficientRights:
		return errkind.PermissionDenied
	}
	if len(code) < 2 {
		return errkind.Unknown
	}
	switch code[:2] {
	case "08", "53", "55", "57", "58": // connection, resources, object state, operator, system
		return errkind.Unavailable
	case "28": // the server refuses our credentials
		return errkind.PermissionDenied
	case "22", "23", "54": // data, constraints, program limits
		return errkind.Invalid
	}
	return errkind.Unknown
}

func conflict(group, key string, rev int64) error {
	return errkind.New(errkind.Conflict, "commit row %q of group %q: it is not at revision %d", key, group, rev)
}

func commitFailed(group, key string, err error) error {
	return classify(fmt.Sprintf("commit row %q of group %q", key, group), err)
}
