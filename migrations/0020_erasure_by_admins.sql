-- The second of the two admins by whose consent somebody is forgotten; null for a person's own wish.
alter table erasures add column approved_by uuid;
