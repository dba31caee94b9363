-- FHIR R4 as people, visits, conditions, drugs, procedures and labs. The tables fhir_* and the macros pointed (what a reference names),
-- day, coded (the code in a system) and any_code are made by fhir.py. DuckDB's SQL.
people as (
    select id as patient, any_value(day(birthDate)) as born,
        any_value(case lower(gender) when 'male' then 'M' when 'female' then 'F' end) as sex, any_value(day(deceasedDateTime)) as died
    from fhir_Patient group by id
),
-- Some servers name a patient by an identifier, not by the resource.
called as (
    select id as patient, id as name from fhir_Patient
    union
    select id, unnest(json_extract_string(identifier, '$[*].value')) from fhir_Patient
),
encounters as (
    select e.id as visit, c.patient, lower(coalesce(e.class->>'$.code', e.class->>'$.coding[0].code', '')) as class,
        day(e.period->>'$.start') as began, day(e.period->>'$.end') as ended, upper(any_code(e.priority)) as priority,
        lower(any_code(e.hospitalization->'$.admitSource')) as source,
        lower(any_code(e.hospitalization->'$.dischargeDisposition')) as disposition, e.diagnosis
    from fhir_Encounter e join called c on c.name = pointed(e.subject)
    where coalesce(e.status, '') not in ('planned', 'cancelled', 'entered-in-error')
),
visits as (
    select distinct on (visit) patient, visit,
        case when class in ('imp', 'acute', 'nonac') then 'inpatient' when class = 'emer' then 'emergency'
            when class in ('amb', 'hh', 'vr', 'ss', 'obsenc', 'prenc', 'fld', '') then 'outpatient' else 'other' end as class,
        began, ended,
        case when priority = 'EM' then 'emergency' when priority in ('UR', 'A') then 'urgent' when priority in ('EL', 'R') then 'elective'
            end as urgency,
        case when source = 'emd' then 'emergency room' when source in ('hosp-trans', 'nursing', 'psych', 'rehab') then 'transfer'
            when source in ('gp', 'mp', 'outp') then 'referral' end as origin,
        case when disposition in ('home', 'alt-home', 'aadvice') then 'home' when disposition in ('long', 'snf') then 'nursing facility'
            when disposition = 'rehab' then 'rehabilitation' when disposition in ('other-hcf', 'psy') then 'other hospital'
            when disposition = 'hosp' then 'hospice' when disposition = 'exp' then 'died' end as destination
    from encounters where began is not null order by visit, patient
),
-- The main diagnosis is the one that its encounter puts first.
ranked as (
    select regexp_extract(d.condition.reference, '([A-Za-z0-9.-]+)(/_history/[^/]*)?$', 1) as condition, min(d.rank) as rank
    from (select unnest(json_transform(diagnosis, '[{"condition": {"reference": "VARCHAR"}, "rank": "INTEGER"}]')) as d from encounters)
    group by 1
),
conditions as (
    select c.patient, pointed(f.encounter) as visit,
        coalesce(day(f.onsetDateTime), day(f.onsetPeriod->>'$.start'), day(f.recordedDate), v.began) as day,
        case when coded(f.code, 'icd-10') is not null then 'icd10' when coded(f.code, 'icd-9') is not null then 'icd9'
            when coded(f.code, 'snomed') is not null then 'snomed' end as system,
        coalesce(coded(f.code, 'icd-10'), coded(f.code, 'icd-9'), coded(f.code, 'snomed'), any_code(f.code)) as code,
        null as kind, coalesce(r.rank, 99) as place
    from fhir_Condition f join called c on c.name = pointed(f.subject)
    left join visits v on v.visit = pointed(f.encounter)
    left join ranked r on r.condition = f.id
    where coalesce(f.verificationStatus->>'$.coding[0].code', '') not in ('entered-in-error', 'refuted')
),
drugs as (
    select c.patient, pointed(m.encounter) as visit, day(m.authoredOn) as day,
        coalesce(any_code(m.medicationCodeableConcept), m.contained->>'$[0].code.coding[0].code', m.contained->>'$[0].code.text',
            pointed(m.medicationReference)) as drug
    from fhir_MedicationRequest m join called c on c.name = pointed(m.subject)
    where coalesce(m.status, '') not in ('draft', 'cancelled', 'entered-in-error')
),
procedures as (
    select c.patient, pointed(p.encounter) as visit, coalesce(day(p.performedDateTime), day(p.performedPeriod->>'$.start')) as day
    from fhir_Procedure p join called c on c.name = pointed(p.subject)
    where coalesce(p.status, '') not in ('preparation', 'not-done', 'entered-in-error')
),
labs as (
    select c.patient, pointed(o.encounter) as visit,
        coalesce(day(o.effectiveDateTime), day(o.effectivePeriod->>'$.start'), day(o.effectiveInstant), day(o.issued)) as day,
        coalesce(coded(o.code, 'loinc'), any_code(o.code)) as code, try_cast(o.valueQuantity->>'$.value' as double) as value
    from fhir_Observation o join called c on c.name = pointed(o.subject)
    where coalesce(o.status, '') not in ('registered', 'cancelled', 'entered-in-error')
        and (o.category is null or contains(cast(o.category as varchar), '"laboratory"'))
)
