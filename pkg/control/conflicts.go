package control

import (
	"context"
	"net/http"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Choose implements API.
func (c *Client) Choose(ctx context.Context, id string, choice reconcile.Choice) (rec state.Conflict, err error) {
	return rec, c.ask(ctx, http.MethodPost, pathChoose, chooseRequest{id, choice}, &rec)
}

// Restore implements API.
func (c *Client) Restore(ctx context.Context, id string, lost version.ID) (r reconcile.Restored, err error) {
	return r, c.ask(ctx, http.MethodPost, pathRestore, restoreRequest{id, lost}, &r)
}

// Sides implements API.
func (c *Client) Sides(ctx context.Context, id string, limit int64) (s reconcile.Sides, err error) {
	return s, c.ask(ctx, http.MethodPost, pathSides, sidesRequest{id, limit}, &s)
}

// Try implements API.
func (c *Client) Try(ctx context.Context, key string) (p reconcile.Proposal, err error) {
	return p, c.ask(ctx, http.MethodPost, pathTry, tryRequest{[]byte(key)}, &p)
}

// conflicts serves what is asked about conflicts.
func conflicts(mux *http.ServeMux, api API) {
	mux.HandleFunc("POST "+pathChoose, func(w http.ResponseWriter, r *http.Request) {
		if q, ok := asked[chooseRequest](w, r); ok {
			rec, err := api.Choose(r.Context(), q.ID, q.Choice)
			answer(w, rec, err)
		}
	})
	mux.HandleFunc("POST "+pathRestore, func(w http.ResponseWriter, r *http.Request) {
		if q, ok := asked[restoreRequest](w, r); ok {
			restored, err := api.Restore(r.Context(), q.ID, q.Version)
			answer(w, restored, err)
		}
	})
	mux.HandleFunc("POST "+pathSides, func(w http.ResponseWriter, r *http.Request) {
		if q, ok := asked[sidesRequest](w, r); ok {
			sides, err := api.Sides(r.Context(), q.ID, q.Limit)
			answer(w, sides, err)
		}
	})
	mux.HandleFunc("POST "+pathTry, func(w http.ResponseWriter, r *http.Request) {
		if q, ok := asked[tryRequest](w, r); ok {
			p, err := api.Try(r.Context(), string(q.Key))
			answer(w, p, err)
		}
	})
}
