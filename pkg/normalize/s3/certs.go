package s3

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

const (
	maxCerts    = 32               // one per region and rotation; whoever sends other URLs must not fill the memory
	certTTL     = 24 * time.Hour   // SNS rotates by changing the URL, so this only bounds how long a mistake lives
	maxCertSize = 64 << 10         // bytes
	failureTTL  = 30 * time.Second // how long a failure is the answer: strangers must not make us ask and ask
)

// certCache remembers the keys behind certificate URLs that passed checkURL.
type certCache struct {
	client Doer
	now    func() time.Time

	mu    sync.Mutex
	certs map[string]*certEntry
}

type certEntry struct {
	mu      sync.Mutex // held while fetching: one request for many waiting messages
	cert    *x509.Certificate
	key     *rsa.PublicKey
	fetched time.Time
	failed  time.Time
	err     error // of the fetch that failed
}

func newCertCache(client Doer, now func() time.Time) *certCache {
	return &certCache{client: client, now: now, certs: make(map[string]*certEntry)}
}

// key is the public key of a certificate. Errors: Unavailable if it can't be fetched, Unauthenticated if it is no
// certificate that is good now.
func (c *certCache) key(ctx context.Context, from string) (*rsa.PublicKey, error) {
	e := c.entry(from)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := c.now()
	if e.err != nil && now.Sub(e.failed) < failureTTL {
		return nil, e.err
	}
	if e.key == nil || now.Sub(e.fetched) > certTTL {
		e.err = e.fetch(ctx, c.client, from, now)
		if e.err != nil {
			err := e.err
			if errors.Is(ctx.Err(), context.Canceled) { // the sender left: nothing was learned
				e.err = nil
			}
			e.failed = now
			return nil, err
		}
	}
	if now.Before(e.cert.NotBefore) || now.After(e.cert.NotAfter) {
		c.drop(from, e)
		return nil, refused(Certificate, "the certificate is good from %s to %s",
			e.cert.NotBefore.Format(time.RFC3339), e.cert.NotAfter.Format(time.RFC3339))
	}
	return e.key, nil
}

// entry finds or makes the entry of a URL, in the place of another one if there are too many.
func (c *certCache) entry(from string) *certEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.certs[from]; ok {
		return e
	}
	if len(c.certs) >= maxCerts {
		for url := range c.certs { // any one: a good one is fetched again at little cost
			delete(c.certs, url)
			break
		}
	}
	e := &certEntry{}
	c.certs[from] = e
	return e
}

func (c *certCache) drop(from string, e *certEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certs[from] == e {
		delete(c.certs, from)
	}
}

func (e *certEntry) fetch(ctx context.Context, client Doer, from string, now time.Time) error {
	b, err := fetch(ctx, client, from, maxCertSize)
	if err != nil {
		return refuse.New(errkind.Unavailable, CertificateDown, "fetch sns certificate: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return refused(Certificate, "its certificate is not in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return refused(Certificate, "its certificate: %w", err)
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return refused(Certificate, "the key of its certificate is not RSA")
	}
	e.cert, e.key, e.fetched = cert, key, now
	return nil
}
