-- Who may use the server; the runs are in a database beside.
CREATE DATABASE users;
