"""The study with observers of section 5: its items and their order, its pages, server and panels.

The room on top of all others: it asks people what the evidence then scores and the report shows.
`design` says who is asked what, in which order; `pages` turns a question into a page, `server` asks
it over HTTP and `store` keeps the answer; `static` asks without a server. `panels` draws pictures
for judges that see, people or models, of whom there may be one only.
"""
