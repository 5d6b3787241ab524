-- The same bytes as loadtests/post.py sends. wrk does not parse what comes back.
wrk.method = "POST"
wrk.body = '{"user":17,"items":[{"id":3,"count":2},{"id":8,"count":1}],"note":"a goose, boxed"}'
wrk.headers["Content-Type"] = "application/json"
