package receive

import (
	"net/http"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

const snsTimeout = 5 * time.Second // to fetch a certificate, or to confirm

func newS3(c Config) (string, http.Handler, error) {
	if err := c.nobody("s3", len(c.Topics) > 0, env.Topics); err != nil {
		return "", nil, err
	}
	h := s3.HandlerConfig{
		Sink: sink{c}, DeadLetters: c.DeadLetters, Now: time.Now, Logger: c.Logger, Meter: c.meter("s3"),
	}
	for _, r := range c.pushed(s3.Provider) {
		st := s3.StoreOf(r)
		st.Auth = s3.Auth{Tokens: c.Tokens, Topics: c.Topics, Open: c.Open}
		h.Stores = append(h.Stores, st)
	}
	if len(c.Topics) > 0 {
		client := c.SNS
		if client == nil {
			client = s3.NewClient(snsTimeout)
		}
		h.Verifier = s3.NewVerifier(client, time.Now, c.SNSMaxAge)
	}
	handler, err := s3.NewHandler(h)
	return s3.PathPrefix, handler, err
}
