package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
)

// postgresVariable is the variable of hack/servers.sh that names the database.
const postgresVariable = "BUCKETMESH_TEST_POSTGRES"

// withDatabase makes a database and is an environment that names it.
func withDatabase(ctx context.Context, getenv func(string) string, name string) (func(string) string, error) {
	dsn, err := url.Parse(getenv(postgresVariable))
	if err != nil || dsn.Host == "" {
		return nil, fmt.Errorf("%s does not name a database: start it with hack/chaos.sh", postgresVariable)
	}
	c, err := pgx.Connect(ctx, dsn.String())
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = c.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize())
	if err = errors.Join(err, c.Close(ctx)); err != nil {
		return nil, fmt.Errorf("create database %s: %w", name, err)
	}
	dsn.Path = "/" + name
	return func(variable string) string {
		if variable == postgresVariable {
			return dsn.String()
		}
		return getenv(variable)
	}, nil
}
